//! Sums over events: totals, callers, the hop limit, shared tokens, windows.
//!
//! The closing summary, the `tally` and `stop` events, the metrics and every form of the report
//! render what is added up here; a number that appears in two places is computed once.

pub(crate) mod caller;
pub(crate) mod caller_name;
pub(crate) mod callers;
pub(crate) mod causes;
pub(crate) mod counter_delta;
pub(crate) mod coverage;
pub(crate) mod evidence;
pub(crate) mod fold;
pub(crate) mod hop_limit;
pub(crate) mod readiness;
pub(crate) mod token_reuse;
pub(crate) mod totals;
pub(crate) mod window;
