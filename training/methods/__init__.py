"""The table of methods. A new one needs a file in this folder and a line here."""

from uq4ct.training.methods.adue import ADUE
from uq4ct.training.methods.base import Method
from uq4ct.training.methods.blob import BLOB
from uq4ct.training.methods.checkpoint_ensemble import CHECKPOINT_ENSEMBLE
from uq4ct.training.methods.ensemble import ENSEMBLE
from uq4ct.training.methods.laplace import LAPLACE
from uq4ct.training.methods.lora import LORA
from uq4ct.training.methods.mahalanobis import MAHALANOBIS
from uq4ct.training.methods.mc_dropout import MC_DROPOUT
from uq4ct.training.methods.mixlora import MIXLORA
from uq4ct.training.methods.sparse_lora import SPARSE_LORA
from uq4ct.training.methods.tfb import TFB
from uq4ct.training.methods.uq4ct import UQ4CT

METHODS: dict[str, Method] = {
    "lora": LORA,
    "mc_dropout": MC_DROPOUT,
    "ensemble": ENSEMBLE,
    "checkpoint_ensemble": CHECKPOINT_ENSEMBLE,
    "laplace": LAPLACE,
    "mahalanobis": MAHALANOBIS,
    "adue": ADUE,
    "mixlora": MIXLORA,
    "uq4ct": UQ4CT,
    "sparse_lora": SPARSE_LORA,
    "blob": BLOB,
    "tfb": TFB,
}
