"""Checks with coremltools that packages exported by Ferrane load and mean what the originals mean.

    cargo run -p ferrane-package --example reexport -- OUT crates/package/tests/fixtures/*.mlpackage
    python tools/mil/check_exported_packages.py OUT crates/package/tests/fixtures

Each package of OUT is loaded as a model, its program is read by coremltools' own front end, and both the specification
(without the offsets of weights) and every weight are compared with the package of the same name in the second folder.
"""

import pathlib
import sys

import coremltools as ct
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.libmilstoragepython import _BlobStorageReader as Reader

READ = {
    10: "fp16", 11: "float", 21: "int8", 22: "int16", 23: "int32", 25: "int4", 31: "uint8", 32: "uint16",
    33: "uint32", 35: "uint4", 36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3",
}


def values(spec):
    """Every value of the program that is in the weight file, in an order that does not depend on offsets."""
    for name, function in sorted(spec.mlProgram.functions.items()):
        for block in function.block_specializations.values():
            for op in block.operations:
                found = list(sorted(op.attributes.items()))
                for key, argument in sorted(op.inputs.items()):
                    found += [(key, b.value) for b in argument.arguments if b.WhichOneof("binding") == "value"]
                yield from (v for _, v in found if v.WhichOneof("value") == "blobFileValue")


def read(path):
    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    load(spec, spec.specificationVersion, model.weights_dir or "")
    weights = []
    for value in values(spec):
        reader = Reader(str(pathlib.Path(model.weights_dir) / "weight.bin"))
        read = getattr(reader, f"read_{READ[value.type.tensorType.dataType]}_data")
        weights.append(read(value.blobFileValue.offset).tobytes())
        value.blobFileValue.offset = 0
    return spec, weights


def main():
    exported, originals = map(pathlib.Path, sys.argv[1:])
    packages = sorted(exported.glob("*.mlpackage"))
    for path in packages:
        ours, theirs = read(path), read(originals / path.name)
        if "buildInfo" not in theirs[0].mlProgram.attributes:
            # Ours always have one, since Apple's compiler asks for it.
            ours[0].mlProgram.attributes.pop("buildInfo")
        assert ours[0] == theirs[0], f"{path.name}: the specifications differ"
        assert ours[1] == theirs[1], f"{path.name}: the weights differ"
        print(f"{path.name}: same, {len(ours[1])} weights")
    assert packages, "no packages"


if __name__ == "__main__":
    main()
