//! One metric with all of its series.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::MetricType,
};

/// Labels of one series.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes one metric with all of its series.
pub(super) fn write<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, M)>,
) -> fmt::Result {
    let mut series = series.into_iter().peekable();
    let kind = series.peek().map_or(MetricType::Unknown, |(_, value)| value.metric_type());
    if series.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        if labels.is_empty() {
            value.encode(family.encode_family::<[(&str, &str); 0]>(&[])?)?;
        } else {
            value.encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
