import signal
import threading

import pytest

from keras_convinit import _interruption
from keras_convinit._interruption import check_interruption, defer_interruption

pytestmark = pytest.mark.once

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def handlers():
    return [signal.getsignal(number) for number in _interruption.SIGNALS]


@pytest.fixture(autouse=True)
def same_handlers(press):
    before = handlers()
    yield
    assert handlers() == before


@BOTH
def test_a_signal_waits_for_a_look(number, press):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_interruption():
        press(number)
        done.append("step")
        check_interruption()
        done.append("another")
    assert done == ["step"]


def test_the_second_one_ends_at_once(capfd, press):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_interruption():
        press()
        done.append("step")
        press(signal.SIGTERM)
        done.append("another")
    assert done == ["step"]
    assert "once more ends at once" in capfd.readouterr().err


def test_one_that_nobody_looked_at_is_not_lost(press):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_interruption():
        press()
        done.append("all")
    assert done == ["all"]
    # And it is told once.
    with defer_interruption():
        check_interruption()


def test_it_is_told_once(press):
    with defer_interruption():
        press()
        with pytest.raises(KeyboardInterrupt):
            check_interruption()
        check_interruption()


def test_where_nothing_can_be_raised_it_is_not_lost(press):
    class Collected:
        def __del__(self):
            press()

    with pytest.raises(KeyboardInterrupt), defer_interruption():
        Collected()
        check_interruption()


def test_within_another_it_is_the_same(press):
    with pytest.raises(KeyboardInterrupt), defer_interruption():
        with defer_interruption():
            press()
        assert signal.getsignal(signal.SIGINT) not in _interruption.USUAL
        check_interruption()
        pytest.fail("the outer one has not heard of it")


@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda number, frame: None])
def test_other_handlers_stay(other, press):
    before = signal.signal(signal.SIGINT, other)
    try:
        with defer_interruption():
            assert signal.getsignal(signal.SIGINT) is other
            press()
            check_interruption()
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_happens():
    seen = []

    @defer_interruption()
    def work():
        seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handlers()]


def test_an_error_stays_an_error(press):
    with pytest.raises(ValueError), defer_interruption():
        press()
        raise ValueError
    with defer_interruption():
        check_interruption()
