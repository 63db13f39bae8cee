//! A histogram of message sizes that takes many messages at once: one addition per size that occurred, however many
//! messages a wake-up moved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::{IntCounter, proto};

use crate::wire::Tally;

/// The sizes of the messages of one bridge in one direction.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Messages by size, each only where it fits and not where smaller ones do; the last are longer than all bounds.
    counts: [IntCounter; Tally::SIZES.len() + 1],
    /// Bytes of all of them.
    bytes: IntCounter,
}

impl Sizes {
    fn new() -> Sizes {
        let counter = || IntCounter::new("size", "size").expect("a valid name");
        Sizes { counts: std::array::from_fn(|_| counter()), bytes: counter() }
    }

    pub(super) fn add(&self, tally: &Tally) {
        for (counter, &count) in self.counts.iter().zip(&tally.sizes) {
            if count > 0 {
                counter.inc_by(count.into());
            }
        }
        self.bytes.inc_by(tally.whole_bytes());
    }

    fn histogram(&self) -> proto::Histogram {
        let mut histogram = proto::Histogram::default();
        let mut total = 0;
        let mut buckets = Vec::new();
        for (counter, bound) in self.counts.iter().zip(Tally::SIZES) {
            total += counter.get();
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(total);
            bucket.set_upper_bound(bound as f64);
            buckets.push(bucket);
        }
        histogram.set_sample_count(total + self.counts[Tally::SIZES.len()].get());
        histogram.set_sample_sum(self.bytes.get() as f64);
        histogram.set_bucket(buckets);
        histogram
    }
}

/// The family of them, by bridge and direction.
#[derive(Clone, Debug)]
pub(super) struct SizesVec {
    desc: Desc,
    name: &'static str,
    help: &'static str,
    children: Arc<Mutex<HashMap<[String; 2], Sizes>>>,
}

impl SizesVec {
    pub(super) fn new(name: &'static str, help: &'static str) -> prometheus::Result<SizesVec> {
        let labels = ["bridge", "direction"].map(str::to_owned).to_vec();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(SizesVec { desc, name, help, children: Arc::default() })
    }

    pub(super) fn of(&self, bridge: &str, direction: &str) -> Sizes {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.entry([bridge.to_owned(), direction.to_owned()]).or_insert_with(Sizes::new).clone()
    }

    pub(super) fn forget(&self, bridge: &str) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|[known, _], _| known != bridge);
    }
}

impl Collector for SizesVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let metric = |([bridge, direction], sizes): (&[String; 2], &Sizes)| {
            let label = |name: &str, value: &str| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            };
            let mut metric =
                proto::Metric::from_label(vec![label("bridge", bridge), label("direction", direction)]);
            metric.set_histogram(sizes.histogram());
            metric
        };
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(children.iter().map(metric).collect());
        vec![family]
    }
}
