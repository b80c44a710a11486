"""Names in an emitted workspace: fixed by the file contract, read by recasting tools."""

__all__ = [
    "LUMI",
    "MU",
    "RESERVED",
    "SHAPE",
    "lepid_name",
    "partner_channel",
    "residual_name",
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


def lepid_name(source: str, index: int, count: int) -> str:
    """Name of an eigen-variation, zero-padded: ``lepid_id_eig00`` is what mu feels.

    Example:
        >>> lepid_name("id", 3, 120)
        'lepid_id_eig003'
    """
    return f"lepid_{source}_eig{index:0{max(2, len(str(count - 1)))}d}"


def residual_name(source: str, channel: str) -> str:
    """Name of the per-bin error that stands for the dropped eigen-variations of a channel."""
    return f"lepid_{source}_residual_{channel}"
