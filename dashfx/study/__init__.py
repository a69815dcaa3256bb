"""Studies: methods of architecture search are compared with random choices and the untouched model, at equal training.

After Yang, Esperança and Carlucci, "NAS evaluation is frustratingly hard", and Yu et al., "Evaluating the Search Phase
of Neural Architecture Search", both ICLR 2020.
"""

from dashfx.study.carry_out import Study, study
from dashfx.study.plan import Plan, Trial
from dashfx.study.statistics import Improvement, improvement, permutation_p
from dashfx.study.summary import Row, Summary

__all__ = ["Improvement", "Plan", "Row", "Study", "Summary", "Trial", "improvement", "permutation_p", "study"]
