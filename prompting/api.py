"""The public names of `prompting`, which imports this module when one of them is first
used.
"""

from prompting.anchored import AnchoredPrompt, HeadPrompt
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.backbones.loading import load_backbone, load_pocket
from prompting.checkpoints.prompt_files import load_prompts, load_state, save_prompts
from prompting.checkpoints.reference import prompt_from_reference
from prompting.deep import IVLPPrompt, MaPLePrompt
from prompting.model import PromptedCLIP, count_parameters
from prompting.name_aware import SoftCPTPrompt, TCPPrompt
from prompting.predict import Predictor, load
from prompting.prompts import Contexts, Prompt, TextPrompt, VisualPrompt, build_prompt
from prompting.representation import MMRLPPPrompt, MMRLPrompt
from prompting.shape import ClipShape, check_fits, clip_shape
from prompting.tokens import words_to_context
from prompting.unified import UnifiedPrompt

__all__ = [name for name in dir() if not name.startswith("_")]
