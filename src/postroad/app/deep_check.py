"""`postroad check --deep`: every database and all content of the data folder, beside the running server or not."""

from __future__ import annotations

import time

from postroad.app.check import Finding
from postroad.app.configuration import Configuration
from postroad.app.console import take_the_owners_place
from postroad.services.operations.performer import OperationFailed
from postroad.storage.sqlite.deep_check import DeepCheck, Looked, Progress

_STORES = {
    "mail": "mailboxes",
    "hold": "mail that waits to be fetched",
    "others": "further databases",
}


def deep_check(configuration: Configuration, progress: Progress) -> list[Finding]:
    """What is wrong, and after it what was looked at, by store. Raises OperationFailed."""
    data = configuration.data_folder
    if not data.is_dir():
        return [Finding("data", False, f"{data} is not there", "postroad init, or postroad domain add, makes it")]
    take_the_owners_place(configuration)
    found = []
    try:
        for each in DeepCheck(data, time.time, progress).run():
            if isinstance(each, Looked):
                contents = f", {each.files} files of large content" if each.files else ""
                words = f"{each.databases} databases looked through{contents}"
                found.append(Finding(_STORES.get(each.store, each.store), True, words))
            else:
                found.append(Finding(each.what, False, each.finding, each.cure))
    except OSError as error:
        raise OperationFailed(f"{error.filename}: {error.strerror}") from None
    return found
