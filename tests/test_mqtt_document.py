"""docs/mqtt.md: its examples are messages, and its table says what the AsyncAPI file says."""

from __future__ import annotations

import re

from edge.messages import COMMAND_NAMES
from tests.conftest import PROJECT
from tests.schemas import document, mqtt_binding, objections
from tests.tools.test_asyncapi import DECODE

TEXT = (PROJECT / "docs" / "mqtt.md").read_text()


def test_every_example_is_a_message_for_the_program_and_for_the_schema() -> None:
    examples = {}
    for part in TEXT.split("\n### ")[1:]:
        kind, _, rest = part.partition("\n")
        for example in re.findall(r"```json\n(.*?)```", rest, re.DOTALL):
            examples[kind] = example
    assert set(examples) == set(DECODE)
    for kind, example in examples.items():
        DECODE[kind](example.encode())
        assert objections(f"overflight/uav-1/{kind}", example.encode()) == []


def test_the_table_of_topics_has_the_directions_qos_and_retention_of_the_asyncapi_file() -> None:
    rows = re.findall(r"^\| `(\w+)[^|]*\| (device|ground) \| (\d) \| (\w+)", TEXT, re.MULTILINE)
    operations = document()["operations"].values()
    actions = {operation["channel"]["$ref"].rpartition("/")[2]: operation["action"] for operation in operations}
    assert {kind for kind, *_ in rows} == set(actions)
    for kind, sender, qos, retained in rows:
        assert actions[kind] == ("send" if sender == "device" else "receive")
        assert (mqtt_binding(kind)["qos"], mqtt_binding(kind)["retain"]) == (int(qos), retained == "yes")


def test_every_command_has_its_line() -> None:
    named = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| (?:none|`)", TEXT, re.MULTILINE)

    assert sorted(re.findall(r"\w+", " ".join(named))) == sorted(COMMAND_NAMES)
