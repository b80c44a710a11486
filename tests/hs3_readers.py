"""2NLL of an HS3 document by tools outside of pyhf, each run in a process of its own.

    python hs3_readers.py root|pyhs3 DOCUMENT ANALYSIS POINTS

prints a JSON list: -2 ln L at each of the points, which are a JSON list of values by parameter. It
imports neither ddphf nor pyhf, so that any environment that has the tool can run it.
"""

import json
import math
import sys
import warnings


def by_root(path, analysis, points):
    """RooFit reads the document; its own functions are evaluated, without normalisation."""
    import ROOT

    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    with open(path) as file:
        document = json.load(file)
    (found,) = [a for a in document["analyses"] if a["name"] == analysis]
    (likelihood,) = [x for x in document["likelihoods"] if x["name"] == found["likelihood"]]
    workspace = ROOT.RooWorkspace("w")
    assert ROOT.RooJSONFactoryWSTool(workspace).importJSON(path)
    channels, terms = [], {}
    for name, datum in zip(likelihood["distributions"], likelihood["data"], strict=True):
        pdf = workspace.pdf(name)
        rates = pdf
        if pdf.InheritsFrom("RooProdPdf"):
            for part in pdf.pdfList():
                if part.InheritsFrom("RooRealSumPdf"):
                    rates = part
                else:
                    terms[part.GetName()] = part
        channels.append((rates, workspace.data(datum)))
    for name in likelihood.get("aux_distributions", ()):
        terms[name] = workspace.pdf(name)
    for point in points:
        for name, value in point.items():
            variable = workspace.var(name)
            variable.setRange(-1e9, 1e9)
            variable.setVal(value)
        total = 0.0
        for rates, data in channels:
            axis = workspace.var(data.get().first().GetName())
            for i in range(data.numEntries()):
                axis.setVal(data.get(i).getRealValue(axis.GetName()))
                count, rate = data.weight(i), rates.getVal()
                # against the data themselves: terms stay small where counts are large
                likely = count * math.log(count / rate) if count else 0.0
                total += 2 * (rate - count + likely)
        yield total - 2 * sum(math.log(term.getVal()) for term in terms.values())


def by_pyhs3(path, analysis, points):
    """pyhs3 compiles the whole likelihood."""
    import numpy as np
    import pyhs3
    import pytensor
    from pytensor.graph.traversal import explicit_graph_inputs

    sys.setrecursionlimit(100_000)
    model = pyhs3.Workspace.load(path).model(analysis, progress=False)
    inputs = list(explicit_graph_inputs([model.log_prob]))
    function = pytensor.function(inputs, model.log_prob, on_unused_input="ignore", mode="FAST_RUN")
    start = {**model.nominal_params, **model.data}
    for point in points:
        values = {**start, **point}
        arguments = []
        for variable in inputs:
            value = np.asarray(values[variable.name], dtype=float)
            shape = [-1, *[1] * (variable.ndim - 1)] if variable.ndim else []
            arguments.append(value.reshape(shape) if variable.ndim else float(value.item()))
        yield float(-2 * np.sum(function(*arguments)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tool, document, name, where = sys.argv[1:]
    with open(where) as file:
        values = json.load(file)
    reader = {"root": by_root, "pyhs3": by_pyhs3}[tool]
    print(json.dumps(list(reader(document, name, values))))
