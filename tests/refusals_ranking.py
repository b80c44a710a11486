"""Refused rankings and scans, for test_refusals.py.

The workspace is the plain pair with a normsys 'xs' on the signal and a measurement 'null'.
"""

RANK_JSON = ["rank", "workspace.json", "-o", "rank.json"]
SCAN_JSON = ["scan", "workspace.json", "-o", "scan.json"]


def rank(*options):
    return {"arguments": [*RANK_JSON, *options]}


def scan(*options):
    return {"arguments": [*SCAN_JSON, *options]}


def drop_normsys(workspace):
    del workspace["channels"][1]["samples"][0]["modifiers"][1]


RANKING = {
    "nothing to rank": {"edits": [drop_normsys], **rank()},
    "a ranking without a POI": rank("--measurement", "null"),
    "a glob without a match": rank("--parameters", "lepid_*"),
    "a glob that matches the POI alone": rank("--parameters", "mu"),
    "a group without a match": rank("--group", "theory=scale_*"),
    "a group twice": rank("--group", "theory=xs", "--group", "theory=symmetric_shape*"),
    "a parameter in two groups": rank("--group", "theory=xs", "--group", "all=*"),
    "a group without a glob": rank("--group", "theory"),
    "groups of cabinetry": rank("--engine", "cabinetry", "--group", "theory=xs"),
    "workers for cabinetry": rank("--engine", "cabinetry", "--scheduler", "threads:2"),
    "a ranking named as a figure": {
        "arguments": ["rank", "workspace.json", "-o", "p/ranking.png", "--plots", "p"]
    },
    "a scan of an unknown parameter": scan("--parameter", "symmetric_shape[3]"),
    "a scan of a held parameter": scan("--parameter", "mu", "--measurement", "null"),
    "a scan of three parameters": scan(
        "--parameter", "mu", "--parameter", "xs", "--parameter", "symmetric_shape[0]"
    ),
    "a scan of one parameter twice": scan("--parameter", "mu", "--parameter", "mu"),
    "another number of ranges": scan("--parameter", "mu", "--parameter", "xs", "--range", "0", "1"),
    "a range that leaves the bounds": scan("--parameter", "mu", "--range", "-20", "1"),
    "a range upside down": scan("--parameter", "mu", "--range", "1", "-1"),
    "a range that is not a number": scan("--parameter", "mu", "--range", "nan", "1"),
    "a scan named as a figure": {
        "arguments": [
            "scan", "workspace.json", "--parameter", "mu", "-o", "p/scan.png", "--plots", "p"
        ]
    },
}  # fmt: skip
