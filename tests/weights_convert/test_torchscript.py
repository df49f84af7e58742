"""Oracles: the arrays that were written, and torch.jit.save."""

import zipfile

import numpy as np
import pytest

from tests.weights_convert import assembler, script_writer, torch_writer
from tests.weights_convert.expectations import assert_refused, assert_same_arrays
from tests.weights_convert.script_writer import ScriptModule
from weights_convert.state_check import check_layouts, flatten_modules
from weights_convert.state_pickle import MAX_INSTRUCTIONS, SCRIPTED_MODULE, Module
from weights_convert.torch_file import is_torchscript, read_tensors, read_torch_file

STATE = {
    "visual.conv1.weight": np.arange(24, dtype=np.float16).reshape(2, 3, 4) - 7,
    "visual.transformer.resblocks.0.ln_1.weight": np.linspace(-1, 1, 6, dtype=np.float32),
    "visual.transformer.resblocks.1.ln_1.weight": np.linspace(2, 3, 6, dtype=np.float32),
    "text_projection": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    "logit_scale": np.array(4.6, np.float32),
    "input_resolution": np.array(224, np.int64),
}
NEWOBJ = b"\x81"
MODULE = b"c__torch__.clip\nCLIP\n" + assembler.EMPTY_TUPLE + NEWOBJ


def select(value):
    tensors = flatten_modules(value)
    check_layouts(tensors)
    return tensors


@pytest.fixture
def read(tmp_path):
    def read_bytes(data, choose=select):
        (tmp_path / "model.pt").write_bytes(data)
        return read_tensors(tmp_path / "model.pt", choose, "CLIP", SCRIPTED_MODULE)

    return read_bytes


@pytest.fixture
def refuse(read):
    """Reads a file, or one with this pickle, which must be refused with a short line that matches."""

    def run(message, data=None, pickled=None):
        if pickled is not None:
            data = script_writer.script_file({}, pickled=b"\x80\2" + pickled + assembler.STOP)
        assert_refused(read, data, message, "model.pt")

    return run


def assert_same(got, expected=STATE):
    assert_same_arrays(got, expected)


def test_reads_what_was_written(read, tmp_path):
    assert_same(read(script_writer.script_file(STATE)))
    assert is_torchscript(tmp_path / "model.pt")


def test_state_dicts_are_no_torchscript(tmp_path):
    for i, data in enumerate((torch_writer.zip_file({}), torch_writer.legacy_file({}), b"", b"PK\3\4")):
        (tmp_path / f"{i}.pt").write_bytes(data)
        assert not is_torchscript(tmp_path / f"{i}.pt")


def nested_module(torch, state):
    """Returns a torch module with these parameters and buffers, and the names of the state dict."""

    class Node(torch.nn.Module):
        def forward(self, x):
            return x

    root = Node()
    for name, array in state.items():
        *path, attribute = name.split(".")
        node = root
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        tensor = torch.tensor(array)
        if tensor.dtype == torch.int64:
            node.register_buffer(attribute, tensor)
        else:
            node.register_parameter(attribute, torch.nn.Parameter(tensor))
    return root


@pytest.mark.parity
@pytest.mark.parametrize("way", ["script", "trace"])
def test_reads_what_torch_saves(way, read, tmp_path):
    torch = pytest.importorskip("torch")
    module = nested_module(torch, STATE).eval()
    compiled = torch.jit.script(module) if way == "script" else torch.jit.trace(module, torch.zeros(2))
    torch.jit.save(compiled, tmp_path / "torch.pt")
    assert is_torchscript(tmp_path / "torch.pt")
    assert_same(read((tmp_path / "torch.pt").read_bytes()))


@pytest.mark.parity
def test_reads_a_model_with_layers_and_lists(read, tmp_path):
    """Real layers have attributes beside their weights, and their code is compressed."""
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        sizes: list[int]

        def __init__(self):
            super().__init__()
            self.sizes = [1, 2]
            self.scale = 0.5
            self.attention = torch.nn.MultiheadAttention(8, 2)
            self.layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))

        def forward(self, x):
            return self.layers(self.attention(x, x, x)[0]) * self.scale * self.sizes[0]

    model = Model().eval()
    torch.jit.save(torch.jit.script(model), tmp_path / "torch.pt")
    assert_same(read((tmp_path / "torch.pt").read_bytes()), {name: x.numpy() for name, x in model.state_dict().items()})


def test_reader_of_state_dicts_says_what_it_is(tmp_path):
    (tmp_path / "model.pt").write_bytes(script_writer.script_file(STATE))
    with pytest.raises(ValueError, match=r"cannot be read as S3D's weights: it is a TorchScript archive"):
        read_torch_file(tmp_path / "model.pt", {})


def test_file_cut_off_anywhere_is_refused(refuse):
    data = script_writer.script_file(STATE)
    for length in range(0, len(data), 23):
        refuse("cannot be read", data[:length])


def test_bytes_changed_at_random_are_refused_or_mean_the_same(read):
    """The checksums of ZIP protect data.pkl and the storages; other bytes have no effect or are refused."""
    draw, whole, refused = np.random.RandomState(0), script_writer.script_file(STATE), 0
    for _ in range(200):
        data = bytearray(whole)
        data[draw.randint(len(data))] ^= 1 << draw.randint(8)
        try:
            assert_same(read(bytes(data)))
        except ValueError as error:
            assert str(error).isprintable() and "cannot be read as CLIP's weights" in str(error)
            refused += 1
    assert refused > 50


def test_compressed_storages_are_refused(refuse):
    refuse("compressed ZIP archive", script_writer.script_file(STATE, compression=zipfile.ZIP_DEFLATED))


def test_modules_that_hold_each_other_twice_are_visited_once(read):
    """There would be 2**60 names otherwise, if depth alone did not stop it."""
    module = ScriptModule("a.B", weight=None)
    for _ in range(8):
        module = ScriptModule("a.B", one=module, two=module)
    assert read(script_writer.script_file({}, root=module)) == {}


def test_module_in_itself_is_visited_once(read):
    module = ScriptModule("a.B")
    module.attributes["inner"] = module
    assert read(script_writer.script_file({}, root=module)) == {}


def test_attributes_without_weights_are_left_out(read):
    root, _ = script_writer.modules_of(STATE)
    root.attributes |= {"training": True, "eps": 1e-5, "name": "CLIP", "sizes": [1, 2], "none": None, "pair": (1, "a")}
    assert_same(read(script_writer.script_file(STATE, root=root)))


def chain(depth):
    module = ScriptModule("a.B")
    for _ in range(depth):
        module = ScriptModule("a.B", inner=module)
    return module


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"c__main__\nCLIP\n" + assembler.EMPTY_TUPLE + NEWOBJ, "asks for __main__.CLIP, which is refused"),
        (b"cposix\nsystem\nX\1\0\0\0a\x85R", "asks for posix.system, which is refused"),
        (b"c__torch__.clip\nCLIP\nX\1\0\0\0a\x85R", "calls __torch__.clip.CLIP, which is refused"),
        (b"c__torch__.clip\nCLIP\nX\1\0\0\0a\x85\x81", "makes an object of __torch__.clip.CLIP, which is refused"),
        (assembler.ORDERED_DICT + assembler.EMPTY_TUPLE + NEWOBJ, "makes an object of collections.OrderedDict"),
        (b"ctorch\nBFloat16Storage\n", "asks for torch.BFloat16Storage, .*float32, int64 and float16 tensors"),
        (MODULE + assembler.numbers([1]) + assembler.BUILD, "damaged"),
        (NEWOBJ, "damaged"),
        (assembler.BUILD, "damaged"),
        (MODULE + b"}(K\1Nu" + assembler.BUILD, "the attribute 1, which no module has"),
        (MODULE + b"}(" + assembler.text(b"") + b"Nu" + assembler.BUILD, "the attribute '', which no module has"),
        (MODULE + b"}(" + assembler.text(b"a" * 10**6) + b"Nu" + assembler.BUILD, r"'\.\.\. \(1000000 characters\)"),
        (MODULE * MAX_INSTRUCTIONS, "instructions"),
        (b"c__torch__." + b"m" * 2**22 + b"\nA\n)R", "calls __torch__.mmm"),
    ],
    ids=[
        "other class", "code", "class called", "arguments", "no class", "dtype", "attributes of numbers",
        "no operand", "no object", "attribute 1", "attribute without name", "attribute of 1 MB", "many", "long name",
    ],
)  # fmt: skip
def test_hostile_pickle_is_refused(pickled, message, refuse):
    refuse(message, pickled=pickled)


def test_deep_modules_are_refused(read, refuse):
    assert read(script_writer.script_file({}, root=chain(9))) == {}
    refuse("nested over 10 levels deep", script_writer.script_file({}, root=chain(10)))
    refuse("nested over 10 levels deep", script_writer.script_file({}, root=chain(150)))


def test_two_tensors_of_one_name_are_refused(refuse):
    root, _ = script_writer.modules_of(STATE)
    root.attributes["visual.conv1.weight"] = root.attributes["text_projection"]
    refuse("two tensors of the name 'visual.conv1.weight'", script_writer.script_file(STATE, root=root))


def test_module_has_no_methods_of_the_file():
    """Setting attributes of an inert object can run nothing."""
    module = Module()
    module.attributes = {"__class__": 1, "__reduce__": 2}
    assert flatten_modules(module) == {} and type(module) is Module
