"""Cases of tests/test_refusals.py for ``ddphf masses``."""

import copy
import json

from ddphf.masses.examples import small_patchset

SCAN = {
    "schema": "ddphf/masses/1",
    "name": "scan",
    "parameter": {"name": "m", "values": [1.0, 2.0]},
    "observed": [[3, 5], [4, 6]],
    "background": {"yields": [[3.0, 4.0], [4.0, 5.0]], "error": [[0.5, 0.6], [0.6, 0.7]]},
    "signal": {"yields": [[1.0, 2.0], [2.0, 1.0]]},
    "poi": {"name": "mu", "bounds": [0, 50]},
}


def masses(*options, **changes):
    """Return a scan with other contents at dotted paths."""
    scan = copy.deepcopy(SCAN)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = scan
        for key in parents:
            place = place[key]
        place[last] = value
    return {
        "files": {"scan.yml": json.dumps(scan)},
        "arguments": ["masses", "scan.yml", "-o", "masses.json", *options],
    }


WINDOW = {"column": "m", "resolution": 0.3, "half_width": 4, "bins": 2}
EMPTY = [[0.0, 4.0], [4.0, 5.0]]

MASSES = {
    "a mass grid that does not increase": masses(parameter__values=[2.0, 1.0]),
    "empty bins without a policy": masses(
        background__yields=EMPTY, background__error=[[0.0, 0.6], [0.6, 0.7]]
    ),
    "a signal that is dropped": masses(
        background__yields=EMPTY,
        background__error=[[0.0, 0.6], [0.6, 0.7]],
        signal__yields=[[1.0, 0.0], [2.0, 1.0]],
        empty_bins="drop",
    ),
    "an unknown policy of empty bins": masses(empty_bins="ignore"),
    "a scan file with an unknown key": masses(signals={}),
    "a scan file with half an error kind": masses(
        background={"yields": [[3.0, 4.0], [4.0, 5.0]], "error_kind": "shapesys"}
    ),
    "a mass scan whose shapesys is 0": masses(
        background__error=[[0.0, 0.6], [0.6, 0.7]], background__error_kind="shapesys"
    ),
    "an error of a bin without background": masses(background__yields=EMPTY),
    "a table of other masses": masses(signal__yields=[[1.0, 2.0]]),
    "a table of other bins": masses(signal__yields=[[1.0], [2.0]]),
    "half an event in a mass scan": masses(observed=[[3, 5], [4, 6.5]]),
    "a negative background of a mass scan": masses(background__yields=[[3.0, 4.0], [-4.0, 5.0]]),
    "a mass hypothesis without signal": masses(signal__yields=[[1.0, 2.0], [0.0, 0.0]]),
    "a workspace for a scan file": {
        "files": {"w.json": json.dumps(small_patchset()[0])},
        "arguments": ["masses", "w.json", "-o", "masses.json"],
    },
    "a patchset for a scan file": {
        "files": {"p.json": json.dumps(small_patchset()[1])},
        "arguments": ["masses", "p.json", "-o", "masses.json"],
    },
    "a mass scan whose POI has one bound": masses(poi__bounds=[0]),
    "a unit of several lines": masses(parameter__unit="G\neV"),
    "yields of a mass scan that are text": masses(background__yields=[["a", 4.0], [4.0, 5.0]]),
    "a mass scan whose POI excludes 0": masses(poi__bounds=[1, 50]),
    "a table of a file that is not there": masses(observed="absent.npz:data"),
    "edges of windows that do not fit": masses(edges=[[0, 1, 2, 3], [1, 2, 3, 4]]),
    "a global p-value without windows": masses("--global-toys", "50"),
    "too few toys of a global p-value": masses("--global-toys", "5"),
    "too few toys of limits of a mass scan": masses("--method", "toys", "--toys", "9"),
    "toys of a mass scan that are not asked for": masses("--toys", "200"),
    "pieces of toys that are not asked for": masses("--keep", "pieces"),
    "a mass beyond the simulated ones": masses(signal__simulated=[1.0, 1.5], edges=[0.0, 1.0, 2.0]),
    "a signal between masses without edges": masses(signal__simulated=[1.0, 2.0]),
    "a mass that is simulated without an event": masses(
        signal__yields=[[1.0, 2.0], [0.0, 0.0]],
        signal__simulated=[1.0, 2.0],
        edges=[0.0, 1.0, 2.0],
    ),
    "simulated masses that do not increase": masses(
        signal__simulated=[2.0, 1.0], edges=[0.0, 1.0, 2.0]
    ),
    "an interpolation of yields without simulated masses": masses(signal__interpolate_yields="log"),
    "events of a mass scan without a window": masses(observed={"events": "data.npz"}),
    "a window without events": masses(window=WINDOW),
    "edges beside a window": masses(
        observed={"events": "data.npz"}, window=WINDOW, edges=[0.0, 1.0]
    ),
    "a window whose resolution is 0": masses(
        observed={"events": "data.npz"}, window={**WINDOW, "resolution": 0}
    ),
    "events of a mass scan that are not there": masses(
        observed={"events": "data.npz"}, window=WINDOW
    ),
    "errors beside weighted events": masses(
        background={"yields": {"events": "b.npz"}, "error": [[1.0], [1.0]]}, window=WINDOW
    ),
    "a systematic of a mass scan of an unknown type": masses(
        background__systematics=[{"name": "a", "type": "shapesys", "up": 1.1, "down": 0.9}]
    ),
    "a histosys of a mass scan without its yields": masses(
        background__systematics=[{"name": "a", "type": "histosys", "up": [[3.0, 4.0], [4.0, 5.0]]}]
    ),
    "a luminosity of a mass scan without an error": masses(signal__systematics=[{"type": "lumi"}]),
    "a luminosity of a mass scan that nothing has": masses(luminosity={"relative_error": 0.02}),
    "a histosys of a signal between masses": masses(
        signal__simulated=[1.0, 2.0],
        edges=[0.0, 1.0, 2.0],
        signal__systematics=[
            {"name": "a", "type": "histosys", "up": [[1.0, 2.0]] * 2, "down": [[1.0, 2.0]] * 2}
        ],
    ),
    "a confidence level of a mass scan": masses("--cl", "95"),
}
