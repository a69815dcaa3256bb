"""A genotype is a frozen mapping and survives JSON; a broken file is refused in one line."""

import copy
import json
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from dashfx.errors import GenotypeError
from dashfx.genotype import WIDER, Genotype
from dashfx.options.base import KINDS
from dashfx.options.width import Width as Kept
from dashfx.options.width import placed
from dashfx.space import Candidate

CHOICES = {"stem": Candidate((3, 5), (1, 2)), "layer1.0": Candidate(7)}


def test_a_mapping_that_cannot_be_changed():
    genotype = Genotype(CHOICES, rule="argmax")
    assert dict(genotype) == CHOICES and list(genotype) == ["stem", "layer1.0"] and len(genotype) == 2
    with pytest.raises(TypeError):
        genotype.choices["stem"] = Candidate(3)
    source = dict(CHOICES)
    held = Genotype(source)
    source.clear()
    assert len(held) == 2


def test_the_rule_is_a_note_and_order_does_not_matter():
    turned = Genotype(dict(reversed(CHOICES.items())), rule="energy")
    assert turned == Genotype(CHOICES) and hash(turned) == hash(Genotype(CHOICES))
    assert Genotype(CHOICES) != Genotype({"stem": Candidate(3)})


def test_round_trips(tmp_path):
    genotype = Genotype(CHOICES, rule="argmax")
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype and again.rule == "argmax"
    assert Genotype.from_json(Genotype().to_json()) == Genotype()
    genotype.save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == genotype
    assert copy.deepcopy(genotype) == genotype


def test_bits_stand_in_a_version_of_their_own_and_are_no_part_of_equality(tmp_path):
    plain = Genotype(CHOICES, "argmax")
    small = plain.with_bits({"stem": 8})
    assert small == plain and hash(small) == hash(plain) and small.rule == "argmax" and not plain.bits
    text = small.to_json()
    assert '"dashfx_genotype": 4,' in text and '"bits": {"stem": 8}' in text
    again = Genotype.from_json(text)
    assert again == plain and again.bits == {"stem": 8} and again.to_json() == text
    assert copy.deepcopy(small).bits == {"stem": 8} and small.with_bits({}).to_json() == plain.to_json()
    with pytest.raises(TypeError):
        small.bits["layer1.0"] = 8
    with pytest.raises(GenotypeError, match="4 bits at 'stem'"):
        plain.with_bits({"stem": 4})


def test_widths_are_options_beside_the_kernels():
    plain = Genotype(CHOICES, "argmax")
    narrow = Genotype(CHOICES, "argmax", others=placed({"stem": Kept(6, (0, 2, 5))}))
    assert narrow != plain and plain != narrow and narrow != CHOICES and plain == CHOICES and not narrow.is_grown
    assert len({narrow, plain, copy.deepcopy(narrow)}) == 2
    text = narrow.to_json()
    assert '"stem:width": {"kind": "width", "of": 6, "channels": [0, 2, 5]}' in text
    again = Genotype.from_json(text)
    assert again == narrow and again.to_json() == text and again.listed.endswith("; stem:width 3 of 6 channels")
    assert again.widths == {"stem": Kept(6, (0, 2, 5))} and plain.widths == {}
    assert again.widths["stem"].features() == {"log width": math.log(3)}
    assert narrow.with_bits({"stem": 8}).widths == narrow.widths


def test_plain_files_are_byte_for_byte_those_of_version_1():
    sites = '"stem": {"kernel": [3, 5], "dilation": [1, 2]},\n    "layer1.0": {"kernel": [7], "dilation": [1]}'
    expected = f'{{\n  "dashfx_genotype": 1,\n  "rule": "argmax",\n  "sites": {{\n    {sites}\n  }}\n}}\n'
    assert Genotype(CHOICES, "argmax").to_json() == expected


@dataclass(frozen=True)
class Width:
    kind: ClassVar[str] = "test-width"
    channels: int = 1

    def to_dict(self):
        return {"channels": self.channels}

    def features(self):
        return {"width": math.log(self.channels)}


def test_options_of_other_kinds_stand_beside_the_kernels_and_count_for_equality(monkeypatch):
    with pytest.raises(GenotypeError, match=r"put its kind 'test-width' into dashfx\.options\.base\.KINDS"):
        Genotype(CHOICES, others={"stem:width": Width(4)})
    monkeypatch.setitem(KINDS, Width.kind, lambda facts: Width(**facts))
    narrow = Genotype(CHOICES, "argmax", {"stem": 8}, {"stem:width": Width(4)})
    text = narrow.to_json()
    assert '"dashfx_genotype": 5,' in text and '"stem:width": {"kind": "test-width", "channels": 4}' in text
    again = Genotype.from_json(text)
    assert again == narrow and again.to_json() == text and again.bits == {"stem": 8} and dict(again) == CHOICES
    assert hash(again) == hash(copy.deepcopy(again)) and "stem:width Width(channels=4)" in again.listed
    assert narrow != Genotype(CHOICES) and Genotype(CHOICES) != narrow and narrow != CHOICES
    assert narrow != Genotype(CHOICES, others={"stem:width": Width(3)}) and Genotype(CHOICES) == CHOICES
    with pytest.raises(TypeError):
        narrow.others["stem:width"] = Width(2)


def broken(**changes):
    return json.dumps({**json.loads(Genotype(CHOICES).to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a genotype"),
        ("[]", "dashfx_genotype"),
        ('{"stem": 3}', "dashfx_genotype"),
        (broken(dashfx_genotype=WIDER + 1), "reads versions 1, 2, 3, 4 and 5"),
        (broken(sites={"stem": {"kernel": [3]}}), "dilation"),
        (broken(sites={"stem": {"kernel": [0], "dilation": [1]}}), "kernel"),
        (broken(sites=3), "sites"),
        (broken(bits={"stem": 4}), "4 bits at 'stem'"),
        (broken(others={"stem:width": {"kind": "widht"}}), "the kind 'widht' are not known.*upgrade"),
        (broken(others={"stem:width": {"channels": 4}}), "kind"),
        (broken(others={"stem": {"kind": "conv", "kernel": [3]}}), "dilation"),
        (
            broken(others={"stem": {"kind": "conv", "kernel": [3], "dilation": [1]}}),
            "k3 d1 at 'stem' among other options",
        ),
        (broken(others={"stem:width": {"kind": "width", "of": 4, "channels": [4]}}), r"width \(4,\) of 4"),
        (broken(others={"stem:width": {"kind": "width", "of": 4, "channels": []}}), "at least one"),
        (broken(others={"stem:width": {"kind": "width", "channels": [0]}}), "of"),
        (broken(bits=[1]), "'sites', 'bits' or 'others'"),
        (broken(sites={"stem": {"parts": [{"kernel": [3], "dilation": [1]}], "how": "sum"}}), "two or more"),
        (
            broken(sites={"stem": {"parts": [{"kernel": [3], "dilation": [1]}, {"kernel": [5]}], "how": "sum"}}),
            "dilation",
        ),
        (broken(sites={"stem": {"parts": [{"kernel": [3], "dilation": [1]}] * 2}}), "how"),
        (broken(sites={"stem": {"parts": 3, "how": "sum"}}), "sites"),
    ],
)
def test_broken_text(text, words, tmp_path):
    with pytest.raises(GenotypeError, match=words) as raised:
        Genotype.from_json(text)
    assert "\n" not in str(raised.value)
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(GenotypeError, match=r"broken\.json"):
        Genotype.load(tmp_path / "broken.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(GenotypeError, match="cannot be read"):
        Genotype.load(tmp_path / "none.json")
