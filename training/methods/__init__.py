"""The table of training methods: a new one is a file beside this and a line here."""

from training.methods.base import Method
from training.methods.lora import Lora
from training.methods.mixlora import MixLora
from training.methods.uq4ct import Uq4ct

METHODS: dict[str, Method] = {"lora": Lora(), "mixlora": MixLora(), "uq4ct": Uq4ct()}
