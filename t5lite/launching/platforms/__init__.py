"""The platforms by name."""

from t5lite.launching.platform import Platform
from t5lite.launching.platforms.cloud_tpu import CloudTpu
from t5lite.launching.platforms.gke import Gke
from t5lite.launching.platforms.local import Local
from t5lite.launching.platforms.slurm import Slurm
from t5lite.launching.platforms.ssh import Ssh
from t5lite.launching.platforms.xpk import Xpk

PLATFORMS: dict[str, type[Platform]] = {
    "tpu": CloudTpu,
    "gke": Gke,
    "xpk": Xpk,
    "slurm": Slurm,
    "ssh": Ssh,
    "local": Local,
}
