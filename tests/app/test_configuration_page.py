"""The page about the configuration says what the configuration is."""

from pathlib import Path

from postroad.app.configuration import parse
from postroad.app.template import commented, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating" / "configuration.md"


def test_the_page_is_what_the_models_say() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_default_on_the_page_is_a_valid_value() -> None:
    text = commented("mx.example.org", "/var/lib/postroad")
    uncommented = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    ]
    routed = "\n".join(uncommented)
    assert parse(routed, Path("postroad.toml")).hostname == "mx.example.org"
