"""Names in an emitted workspace: fixed by the file contract, read by recasting tools."""

__all__ = [
    "LUMI",
    "MU",
    "RESERVED",
    "SHAPE",
    "partner_channel",
    "stat_name",
    "tested_channel",
]

MU = "mu"
SHAPE = "symmetric_shape"
LUMI = "lumi"

RESERVED = frozenset({MU, SHAPE, LUMI})


def tested_channel(label: str) -> str:
    """Name of the tested channel, such as ``SR_mue``."""
    return f"SR_{label}"


def partner_channel(label: str) -> str:
    """Name of the partner channel, such as ``CR_emu``."""
    return f"CR_{label}"


def stat_name(sample: str, channel: str) -> str:
    """Name of a sample's per-bin uncertainty: it belongs to one channel and is never shared."""
    return f"{sample}_stat_{channel}"
