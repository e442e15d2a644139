//! Turns every case into named tests: one for each way of invocation and version of musl.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use difftest::case::{Case, discover};
use difftest::trial;
use difftest::verdict::check;
use difftest::worlds::{Loaders, build_root, workspace_root};
use libtest_mimic::{Arguments, Trial};

/// The points of the specification that must have a case; the others are about the `dl*` functions.
const REQUIRED_POINTS: [std::ops::RangeInclusive<u32>; 5] = [1..=41, 43..=44, 46..=49, 59..=60, 61..=61];

fn main() -> Result<ExitCode> {
    Ok(libtest_mimic::run(&Arguments::from_args(), trials()?).exit_code())
}

fn trials() -> Result<Vec<Trial>> {
    let loaders = Arc::new(Loaders::find()?);
    let cases = discover(&workspace_root().join("tests/cases"))?;
    let missing = missing_points(&cases);
    let mut trials = vec![trial("every_point_of_the_specification_has_a_case", move || {
        ensure!(missing.is_empty(), "no case for points {missing:?}");
        Ok(())
    })];
    for case in cases {
        let case = Arc::new(case);
        for &mode in &case.modes {
            for &version in &case.versions {
                let name = format!("{} [{} {}]", case.name, mode.as_str(), version.as_str());
                let (case, loaders) = (Arc::clone(&case), Arc::clone(&loaders));
                trials.push(trial(name, move || {
                    check(&case, version, mode, &loaders, &build_root()).with_context(|| case.name.clone())
                }));
            }
        }
    }
    Ok(trials)
}

fn missing_points(cases: &[Case]) -> Vec<u32> {
    let covered: BTreeSet<u32> =
        cases.iter().flat_map(|case| &case.spec).filter_map(|point| point.parse().ok()).collect();
    REQUIRED_POINTS.into_iter().flatten().filter(|point| !covered.contains(point)).collect()
}
