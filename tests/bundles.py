"""Small bundles for the tests of publishing, and the ways to tamper with them."""

import json

import pyhf
from conftest import full_pair, plain_workspace
from test_lepton_id_build import write_event_analysis

from ddphf.config.analysis import read_analysis
from ddphf.files import to_json
from ddphf.publish.archive import pack
from ddphf.publish.bundle import Publication, foreign_metadata, make_files
from ddphf.publish.contents import make_sums
from ddphf.publish.points import collect_results
from ddphf.publish.readme import make_readme
from ddphf.publish.verify import verify_archive
from ddphf.results.published import PublishedResults
from ddphf.symmetry.load import load_pair
from ddphf.workspace.build import build_workspace


def publication_of(workspace, name="example", metadata=None, **options):
    if metadata is None:
        metadata = foreign_metadata(workspace, name)
    results = collect_results(workspace, name=name)
    return Publication(workspace, metadata, results, **options)


def plain_files():
    """Three bins, no nuisance parameters, discovery alone."""
    return make_files(publication_of(plain_workspace()))


def full_files():
    """Every kind of modifier that the builder emits, known background, asymmetric normsys."""
    built = build_workspace(full_pair(), name="full")
    return make_files(publication_of(built.workspace, "full", built.metadata))


def lepton_id_files(folder):
    """From events and maps, with the covariance of the maps."""
    write_event_analysis(folder)
    config = read_analysis(str(folder / "analysis.yml"))
    pair = load_pair(config)
    built = build_workspace(pair, signal_scale=config.signal_scale, name=config.name)
    found = pair.lepton_id.covariance
    covariance = {"labels": list(found.labels), "matrix": found.matrix.tolist()}
    return make_files(
        publication_of(built.workspace, config.name, built.metadata, covariance=covariance)
    )


def load(files, name):
    return json.loads(files[name])


def tamper(files, name, change):
    """Return the files with an edit of one JSON file, and new checksums."""
    files = dict(files)
    data = load(files, name)
    new = change(data)
    files[name] = to_json(data if new is None else new).encode()
    files["SHA256SUMS"] = make_sums(files)
    return files


def rewrite_readme(files):
    """Return the files with the README that changed results make."""
    results = PublishedResults.from_dict(load(files, "results.json"))
    workspace, metadata = load(files, "workspace.json"), load(files, "metadata.json")
    files = {**files, "README.md": make_readme(files, workspace, metadata, results).encode()}
    files["SHA256SUMS"] = make_sums(files)
    return files


def redigest(files):
    """Make a changed workspace the bundle's own: patches, digests and checksums."""
    files = dict(files)
    workspace = load(files, "workspace.json")
    digest = f"sha256:{pyhf.utils.digest(workspace)}"
    for name in ("results.json", "metadata.json"):
        files = tamper(files, name, lambda data: data.update(workspace_digest=digest))
    if "BkgOnly.json" in files:
        from ddphf.likelihood.patches import split_signal

        background, patch = split_signal(workspace)
        files["BkgOnly.json"] = to_json(background).encode()
        files["patch_signal.json"] = to_json(patch).encode()
    files["SHA256SUMS"] = make_sums(files)
    return files


def verify(files, level=2, **options):
    """Pack and verify; return the result and the first check that did not pass."""
    result = verify_archive(pack(files), level=level, **options)
    return result, next(result.failures, None)


def with_file(files, name, content):
    files = {**files, name: content}
    files["SHA256SUMS"] = make_sums(files)
    return files
