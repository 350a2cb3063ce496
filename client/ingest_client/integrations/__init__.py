"""Integrations with training libraries, one thin module each. Nothing here is loaded by `import ingest`.

autolog         switches all of them on and off (`ingest.autolog`)
torch_loop      plain PyTorch loops: learning rates, gradient norm, step time, samples per second
lightning       Logger and callback        transformers   TrainerCallback      accelerate   GeneralTracker
sklearn         fit                        xgboost, lightgbm                   callbacks and train
keras           callback and fit           tensorboard    SummaryWriter, a drop-in for torch's

_guard          an error in a hook becomes one warning, and the hook is off from then on
_patch          replaced functions of other libraries, and how they come back
_runs           the run that a fit logs to
"""

from __future__ import annotations
