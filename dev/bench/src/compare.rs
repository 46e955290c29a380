//! Loads over several paths, round by round, each round over all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::Load;
use crate::path::Path;
use crate::progress::Progress;
use crate::report::{Promise, Row, Section};
use crate::stats::Median;

/// How long a load is put on a path before it counts: caches, neighbours, windows.
const WARM_UP: Duration = Duration::from_millis(50);

/// Paths that are compared, and what is promised of one of them against others.
pub struct Comparison {
    /// What it is about.
    pub title: &'static str,
    /// The paths.
    pub paths: Vec<Path>,
    /// Which ratios to report.
    pub ratios: Vec<Against>,
}

/// A path's numbers over another's.
pub struct Against {
    /// The path.
    pub path: &'static str,
    /// The other.
    pub other: &'static str,
    /// The least that is promised, of each load that is reported.
    pub loads: Vec<(Load, Option<f64>)>,
}

impl Comparison {
    /// Measures, and gives a section for the numbers and one for the ratios.
    pub fn measure(
        mut self,
        rounds: usize,
        time: Duration,
        progress: &Progress,
    ) -> Result<Vec<Section>> {
        let mut measured: BTreeMap<(Load, &'static str), Vec<f64>> = BTreeMap::new();
        for round in 0..rounds {
            progress.step(&format!("{}, round {} of {rounds}", self.title, round + 1))?;
            for load in Load::ALL {
                for at in 0..self.paths.len() {
                    // Another one goes first each round.
                    let at = (at + round) % self.paths.len();
                    let Some(path) = self.paths.get_mut(at) else { continue };
                    if round == 0 {
                        once(path, load, WARM_UP)?;
                    }
                    let number = once(path, load, time)?;
                    measured.entry((load, path.name)).or_default().push(number);
                }
            }
        }
        Ok(self.sections(&measured))
    }

    fn sections(&self, measured: &BTreeMap<(Load, &'static str), Vec<f64>>) -> Vec<Section> {
        let mut numbers = Section::new(self.title, "each with its unit");
        for load in Load::ALL {
            for path in &self.paths {
                let Some(values) = measured.get(&(load, path.name)) else { continue };
                let what = format!("{}, {}: {}", load.name(), load.unit(), path.name);
                numbers.rows.push(Row::new(what, Median::of(values)));
            }
        }
        let mut ratios = Section::new(format!("{}: ratios of the same round", self.title), "1");
        for Against { path, other, loads } in &self.ratios {
            for (load, promise) in loads {
                let of = |name| measured.get(&(*load, name));
                let (Some(values), Some(to)) = (of(path), of(other)) else { continue };
                let what = format!("{}: {path} : {other}", load.name());
                let row = Row::new(what, Median::of_ratios(values, to));
                ratios.rows.push(match promise {
                    Some(promise) => row.judged(Promise::AtLeast(*promise)),
                    None => row,
                });
            }
        }
        vec![numbers, ratios]
    }
}

fn once(path: &mut Path, load: Load, time: Duration) -> Result<f64> {
    let result = load.run(&path.client.ns, &path.server.ns, path.to, time);
    let number = result.with_context(|| format!("{} over {}", load.name(), path.name))?;
    (path.rest)()?;
    Ok(number)
}
