"""Send one kind of hostile traffic: python -m tests.service.attacks.send NAME PORT MODEL SECONDS [KEY]."""

from __future__ import annotations

import json
import sys
import time

from tests.service.attacks.hostile import ATTACKS, Target

if __name__ == "__main__":
    name, port, model, seconds, *keys = sys.argv[1:]
    target = Target(int(port), model, keys[0] if keys else None, time.monotonic() + float(seconds))
    print(json.dumps(ATTACKS[name].send(target)))
