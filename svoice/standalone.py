"""Training by itself, a Hydra application over conf/: `python -m svoice.train optimizer=adam`."""

import hashlib
import io
import json
import os
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ruamel.yaml import YAML, YAMLError

from svoice import checkpoint, distributed, files
from svoice.arguments import Parser
from svoice.errors import InputError, one_line
from svoice.params import check, read_yaml
from svoice.records import NAMES
from svoice.training import Places, Training, configuration, say

CONF = Path(__file__).resolve().parents[1] / "conf"


def run():
    """Compose what sys.argv says and train; with --multirun one configuration after the other.

    Raises InputError for what cannot be composed.
    """
    # Otherwise Hydra reports by itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    refuse_unknown_options()
    application = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train_svoice")
    try:
        application(train)()
    except HydraException as error:
        raise explained(error) from None


def refuse_unknown_options():
    """Hydra itself refuses them below a usage of many lines."""
    known = get_args_parser()
    known.error = Parser(None).error
    known.parse_args()


def explained(error):
    """Hydra's error as an InputError."""
    key = getattr(error.__cause__, "full_key", None)
    if key:
        return InputError(key, "no such key", "a key of the configuration, as --help shows it")
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return InputError(group, repr(choice), f"one of {', '.join(error.options)}")
    return InputError("the command line", first_line(error), "group=choice or key=value")


def first_line(error):
    return str(error).splitlines()[0].rstrip(".")


# SystemExit is what Hydra lets pass without a report of its own.
@one_line
def train(config):
    """Train as a composed configuration says, unless that is done already."""
    try:
        config = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError("the configuration", first_line(error), "values") from None
    params = check(config)
    lists, out, given = (path_of(config, key) for key in ("lists", "out", "checkpoint"))
    if lists is None:
        raise InputError("lists", "null", "the folder of train.csv and valid.csv")
    whole = configuration(params, lists)
    if out is None:
        out = Path("outputs", "svoice", name_of(whole))
    if is_done(out, whole):
        say(f"{out}: trained already")
        return
    places = Places(lists, out / "model.pt", out, out / "unfinished")
    training = Training(params, places)
    if distributed.first():
        if given and not places.checkpoint.exists():
            adopt(given, whole, places)
        files.replace({out / "params.yaml": as_yaml(whole)})
        say(f"training in {out}")
    distributed.wait_for_all()
    training.complete()
    if distributed.first():
        places.scratch.rmdir()


def path_of(config, key):
    value = config.get(key)
    if not isinstance(value, str | None):
        raise InputError(key, repr(value), "a path")
    return None if value is None else Path(value)


def name_of(whole):
    """What a reader tells trainings apart by, and a hash of all the rest."""
    names = [whole[group]["name"] for group in ("optimizer", "schedule", "clipping")]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return "-".join([*names, digest[:8]])


def as_yaml(values):
    """A YAML file of `values`, keys in their order, as bytes."""
    text = io.BytesIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(values, text)
    return text.getvalue()


def is_done(out, whole):
    """Whether a training's outputs are there. Raises InputError when they are another's."""
    try:
        found = read_yaml(out / "params.yaml")
    except FileNotFoundError:
        return False
    except (ValueError, YAMLError):
        found = None
    if found != whole:
        raise InputError(out / "params.yaml", "another training's", "this one's, or another `out`")
    return (out / "train.json").exists()


def adopt(path, whole, places):
    """Copy a checkpoint, and the records beside it as they were then, to go on from them.

    Raises InputError when it is another configuration's, or the records are not there.
    """
    sizes = checkpoint.load_checkpoint(path, whole)["sizes"]
    contents = {}
    for name, size in zip(NAMES, sizes, strict=True):
        source = path.parent / name
        content = source.read_bytes()[:size]
        if len(content) < size:
            raise InputError(source, f"{len(content)} bytes", f"the {size} that {path} knows of")
        contents[places.scratch / name] = content
    # Last, because a training goes on from there as soon as it is there.
    files.replace({**contents, places.checkpoint: path.read_bytes()})
    say(f"going on from {path}")
