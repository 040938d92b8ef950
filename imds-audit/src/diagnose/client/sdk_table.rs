//! Known clients of the metadata service.
//!
//! Every row has its source; "the guide" is the EC2 User Guide's page "Use a supported SDK version
//! for IMDSv2", "the reference" the AWS SDKs and Tools Reference Guide's "IMDS credential
//! provider". A fact without a source is left out.

mod agents;
mod sdks;
mod tools;

use super::sdk_entry::{SdkEntry, Support, V1Fallback};
use crate::event::Trigger;

use Trigger::{NoAnswer, Refused, ServerError};

/// Falls back whatever goes wrong, but for 400.
const ON_EVERYTHING: V1Fallback = V1Fallback::On(&[NoAnswer, Refused, ServerError]);
const ON_SILENCE_AND_REFUSAL: V1Fallback = V1Fallback::On(&[NoAnswer, Refused]);

/// A row about which nothing is known but its name.
const PLAIN: SdkEntry = SdkEntry {
    agent: "",
    has_suffix: false,
    title: None,
    major: None,
    programs: &[],
    paths: &[],
    scripts: &[],
    titles: &[],
    support: Support::ByCaller,
    fallback: V1Fallback::Unknown,
    is_sticky: false,
    switch: None,
    setting: None,
    plain_call: None,
    update: None,
    runs_tools: false,
    source: "",
};

/// Returns every row.
pub(super) fn entries() -> impl Iterator<Item = &'static SdkEntry> {
    sdks::SDKS.iter().chain(&agents::AGENTS).chain(&tools::TOOLS)
}
