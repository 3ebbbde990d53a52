"""What Hydra cannot compose is said in one sentence that names the word and what is valid."""

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from neuroexp.settings import mistakes


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("windw=20", "windw is no setting: did you mean window? Valid: budget, cache, "),
        ("datset=eng", "datset is no setting: did you mean dataset? Valid: "),
        ("experimnt=mldrsnet/window_step", "experimnt is no setting: did you mean experiment? Valid: "),
        (
            "model=resnet",
            "model=resnet is not there: did you mean mldrsnet? Valid: engnet, escapenet, inceptiontime, lstm, mldcnn, ",
        ),
        (
            "model=mobilescapenet/E9",
            "model=mobilescapenet/E9 is not there: did you mean mobilescapenet/E5? Valid: engnet,",
        ),
        ("experiment=window_step", "experiment=window_step is not there: did you mean mldrsnet/window_step? Valid: "),
        ("hydra/launcher=slurm", "hydra/launcher=slurm is not there. Valid: basic"),
        (
            "budget.latency=5",
            "budget.latency is no setting of budget: did you mean latency_ms? Valid: device, energy_uj,",
        ),
        ("recording.mcv=30", "recording.mcv is no setting of recording: did you mean mvc? Valid: contractions, "),
        ("window.x=3", "window.x is no setting of window: it has none"),
        ("hydra.job.num=many", "hydra.job.num: Value 'many' of type 'str' could not be converted to Integer"),
        ("window", "window is no setting: settings are typed as name=value, such as window=60"),
        ("3fa91c02", "3fa91c02 is no setting: settings are typed as name=value"),  # the id of a run
        ("recording.mvc=[1,2", "recording.mvc=[1,2 cannot be read: no viable alternative at input '[1,2'"),
        (
            "recording.path=~/S1.mat",
            "recording.path=~/S1.mat cannot be read: a value with blanks or one of ~=()%: is typed in",
        ),
        ("recording.path=S1 10%MVC (2).mat", "recording.path=S1 10%MVC (2).mat cannot be read: a value with blanks or"),
        ("window=20,", "window=20, ends before its last value: no blanks around commas, such as window=20,60"),
        ("window=20,60", "window=20,60 is a sweep, for which -m is typed: neuroexp -m window=20,60"),
        ("label.tolerance=3", "label.tolerance is a setting of label=centre alone"),
        ("label.width=3", "label.width is no setting of label: it has none"),
        ("+window=20", "Could not append to config. An item is already at 'window'."),
        ("~windw", "Could not delete from config. 'windw' does not exist."),
    ],
)
def test_a_word_that_makes_no_sense(word, says):
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
            compose("config", [word])
        said = mistakes.sentence(caught.value)
    assert said.startswith(says)
    assert "\n" not in said
    assert "use +" not in said  # which would add the misspelt key
