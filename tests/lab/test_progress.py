import logging

from rich.console import Console

from keras_convinit.lab.progress import shown_progress

ADVICE = "5 out of the last 11 calls to <function> triggered tf.function retracing."


def test_advice_about_tracing_is_kept_back_and_nothing_else(caplog):
    logger = logging.getLogger("tensorflow")
    with shown_progress(Console(quiet=True), [("a run", 1)]) as begin:
        begin()(0.5)
        logger.warning(ADVICE)
        logger.warning("a disk is full")
    assert caplog.messages == ["a disk is full"]
    logger.warning(ADVICE)
    assert caplog.messages[-1] == ADVICE
