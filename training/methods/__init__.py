"""The table of methods: a new one is a file beside this and a line here."""

from training.methods.adue import ADUE
from training.methods.base import Method
from training.methods.blob import BLOB
from training.methods.checkpoint_ensemble import CHECKPOINT_ENSEMBLE
from training.methods.ensemble import ENSEMBLE
from training.methods.laplace import LAPLACE
from training.methods.lora import LORA
from training.methods.mahalanobis import MAHALANOBIS
from training.methods.mc_dropout import MC_DROPOUT
from training.methods.mixlora import MIXLORA
from training.methods.sparse_lora import SPARSE_LORA
from training.methods.tfb import TFB
from training.methods.uq4ct import UQ4CT

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
