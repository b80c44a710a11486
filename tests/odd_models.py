"""Small workspaces that are legal and odd."""

STRENGTH = {"name": "mu", "type": "normfactor", "data": None}


def workspace(samples, counts, parameters=(), poi="mu"):
    """One channel: samples as (name, yields, modifiers)."""
    return {
        "channels": [
            {
                "name": "SR",
                "samples": [
                    {"name": name, "data": list(map(float, data)), "modifiers": list(modifiers)}
                    for name, data, modifiers in samples
                ],
            }
        ],
        "observations": [{"name": "SR", "data": list(map(float, counts))}],
        "measurements": [{"name": "m", "config": {"poi": poi, "parameters": list(parameters)}}],
        "version": "1.0.0",
    }


def normfactor(name):
    return {"name": name, "type": "normfactor", "data": None}


def normsys(name, size):
    return {"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 - size}}


def bounded(name, low, high):
    return {"name": name, "bounds": [[low, high]], "inits": [1.0]}


def at_an_edge():
    """A signal alone in a bin without events, and a deficit where there is background."""
    return workspace(
        [
            ("signal", [2.0, 3.0, 0.8], [STRENGTH]),
            ("background", [25.0, 12.0, 0.0], [normsys("norm", 0.12)]),
        ],
        [22, 9, 0],
        [bounded("mu", -10, 10)],
    )


def copied():
    """Another factor scales the same yields as the POI."""
    return workspace(
        [
            ("signal", [5.0, 9.0], [STRENGTH]),
            ("other", [5.0, 9.0], [normfactor("k")]),
            ("background", [50.0, 40.0], [normsys("norm", 0.1)]),
        ],
        [60, 55],
        [bounded("mu", -1e4, 1e4), bounded("k", -1e4, 1e4)],
    )


def counting(signal, background, error, count, **parameters):
    """One bin with a shapesys."""
    uncertainty = {"name": "unc", "type": "shapesys", "data": [error]}
    return workspace(
        [("signal", [signal], [STRENGTH]), ("background", [background], [uncertainty])],
        [count],
        **parameters,
    )
