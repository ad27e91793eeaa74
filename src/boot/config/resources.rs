//! Settings of the 80 % rule: which plan the machine is rented under.

use std::path::PathBuf;

use rust_embed::Embed;
use serde::Deserialize;

use crate::domain::resources::plan::Plan;
use crate::domain::resources::trigger::{self, Action, Trigger};

/// What may be used of this machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResourcesConfig {
    /// The hosting plan: `detected` for what the machine itself says, the name of one we know, or a path to a file like those in
    /// `deploy/plans`.
    pub plan: PlanChoice,
    /// Whether work gives way so that the machine stays below its ceiling. With `off` people are told, and nothing else follows:
    /// for measuring what it is worth.
    pub enforce: Switch,
    /// What gives way at which level, in place of the usual ones.
    pub triggers: Option<Vec<Trigger>>,
    /// For drills: a JSON file of shares, such as `{"cpu": 0.9}`, that overrule what is measured.
    pub injected: Option<PathBuf>,
}

impl ResourcesConfig {
    /// What gives way at which level.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let mut triggers = self.triggers.clone().unwrap_or_else(trigger::usual);
        if self.enforce == Switch::Off {
            for trigger in &mut triggers {
                trigger.actions.retain(|action| *action == Action::Alert);
            }
            triggers.retain(|trigger| !trigger.actions.is_empty());
        }
        triggers
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    #[default]
    On,
    Off,
}

/// What the settings say of the plan, read while the settings are.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum PlanChoice {
    #[default]
    Detected,
    Known(Plan),
}

impl PlanChoice {
    /// The plan, unless the machine alone is asked.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Detected => None,
            Self::Known(plan) => Some(plan),
        }
    }
}

/// Why a plan cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("no plan is called `{name}`: plan under [resources] is {DETECTED}, {}, or a path to a file", known().join(", "))]
    Unknown { name: String },
    #[error("cannot read the plan `{path}`: {source}")]
    Read { path: String, source: std::io::Error },
    // The settings tell a reason as one text, so that it holds its source.
    #[error("the plan `{path}` does not fit: {source}")]
    Shape { path: String, source: toml::de::Error },
}

impl TryFrom<String> for PlanChoice {
    type Error = PlanError;

    fn try_from(choice: String) -> Result<Self, PlanError> {
        if choice == DETECTED {
            return Ok(Self::Detected);
        }
        let is_path = choice.contains('/') || choice.to_ascii_lowercase().ends_with(SUFFIX);
        let text = if is_path {
            std::fs::read_to_string(&choice)
                .map_err(|source| PlanError::Read { path: choice.clone(), source })?
        } else {
            let file = Plans::get(&format!("{choice}{SUFFIX}"))
                .ok_or_else(|| PlanError::Unknown { name: choice.clone() })?;
            String::from_utf8_lossy(&file.data).into_owned()
        };
        let plan = toml::from_str(&text);
        plan.map(Self::Known).map_err(|source| PlanError::Shape { path: choice, source })
    }
}

/// The word for no plan.
const DETECTED: &str = "detected";
/// How the name of a plan's file ends.
const SUFFIX: &str = ".toml";

/// The names of the plans this binary carries.
fn known() -> Vec<String> {
    let mut names: Vec<String> =
        Plans::iter().filter_map(|name| name.strip_suffix(SUFFIX).map(str::to_owned)).collect();
    names.sort();
    names
}

#[derive(Embed)]
#[folder = "deploy/plans"]
struct Plans;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::resources::Resource;

    fn choose(choice: &str) -> Result<PlanChoice, PlanError> {
        PlanChoice::try_from(choice.to_owned())
    }

    #[test]
    fn every_plan_that_is_carried_can_be_chosen() {
        assert!(known().len() >= 5, "{:?}", known());
        for name in known() {
            let choice = choose(&name).unwrap();
            let plan = choice.plan().unwrap();
            assert!(!plan.name.is_empty() && plan.capacity(Resource::Cpu).is_some(), "{name}");
        }
        let choice = choose("hostinger-kvm2").unwrap();
        let plan = choice.plan().unwrap();
        assert_eq!((plan.cores, plan.memory_gb, plan.disk_gb), (Some(2.0), Some(8.0), Some(100.0)));
        assert_eq!(choose("detected").unwrap().plan(), None);
    }

    #[test]
    fn an_unknown_plan_is_refused_with_the_names_there_are() {
        let why = choose("hostinger-kvm3").unwrap_err().to_string();
        for word in ["hostinger-kvm3", "detected", "hostinger-kvm1", "hostinger-cloud-startup"] {
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn a_file_of_ones_own_is_read_strictly() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        let path = file.to_str().unwrap();
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            choose(path)
        };
        assert_eq!(read("name = \"own\"\ncores = 3\n").unwrap().plan().unwrap().cores, Some(3.0));
        for (text, word) in [
            ("name = \"own\"\ncors = 3\n", "cors"),
            ("name = \"own\"\ncores = 0\n", "more than nothing"),
            ("cores = 1\n", "name"),
            ("name = ", "own.toml"),
        ] {
            let why = read(text).unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        }
        assert!(choose("/nowhere/plan.toml").unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn triggers_are_read_strictly_and_may_be_switched_off() {
        let good = "[[triggers]]\non = \"live_cpu\"\nraise = 0.5\nclear = 0.4\nactions = [\"hold_renders\", \"alert\"]\n";
        let read = |text: &str| toml::from_str::<ResourcesConfig>(text);
        assert_eq!(read(good).unwrap().triggers().len(), 1);
        for (known, unknown) in
            [("live_cpu", "life_cpu"), ("hold_renders", "hold_render"), ("raise", "rise")]
        {
            let why = read(&good.replace(known, unknown)).unwrap_err().to_string();
            assert!(why.contains(unknown), "{why}");
        }
        let off = read(&format!("enforce = \"off\"\n{good}")).unwrap().triggers();
        assert_eq!(off[0].actions, std::collections::BTreeSet::from([Action::Alert]));
        assert!(read("enforce = \"maybe\"").is_err());
    }
}
