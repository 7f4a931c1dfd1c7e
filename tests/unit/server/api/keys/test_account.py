"""What a server brings to the store of spend, and to what stands in for a lost one."""

from collections import Counter

from autotool_server.api.keys.account import Account
from autotool_server.api.keys.file import Key


def test_what_is_withdrawn_is_for_the_store_that_has_counted_it() -> None:
    account = Account(Key(name="alice", hash="0" * 64))
    account.withdraw(tokens=10, minute=7)
    batch = account.take()
    assert batch.change().withdrawn == {7: 1}
    assert batch.change(in_memory=True).withdrawn == {}


def test_what_is_withdrawn_is_kept_until_the_store_has_it() -> None:
    account = Account(Key(name="alice", hash="0" * 64))
    account.withdraw(tokens=10, minute=7)
    lost = account.take()
    account.withdraw(tokens=10, minute=7)
    lost.restore()
    assert account.take().withdrawn == Counter({7: 2})
