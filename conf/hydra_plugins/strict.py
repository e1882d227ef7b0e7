"""Refuses a bad configuration in one clear line. DVC loads this as it composes configuration.yaml.

DVC offers no hook after composition, only this plugin folder (`hydra.plugins_path`), so the
composing method of Hydra's loader is wrapped here.
"""

import sys
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl

sys.path.append(str(Path(__file__).resolve().parents[2]))

from studies.composition import strict

ConfigLoaderImpl.load_configuration = strict(ConfigLoaderImpl.load_configuration)
