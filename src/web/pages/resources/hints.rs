//! What the machine cannot do, said before it has to: it is not what the plan promises, or it is too small for what is planned.

use chrono::{DateTime, Utc};

use crate::domain::job::Lane;
use crate::domain::resources::plan::{Disagreement, disagreements};
use crate::domain::resources::trigger::{Action, Signal};
use crate::domain::resources::{Reading, Resource, Scope};
use crate::use_cases::resources::Standing;
use crate::web::pages::french::{bytes, counted};
use crate::web::pages::keeping::{self, Cramped};
use crate::web::pages::resources::{amount, name};
use crate::web::{App, Problem};

/// Renders that wait from which the live and they need more than there is.
const RENDERS_WAITING: i64 = 3;

/// Something worth knowing, and what to do.
pub(super) struct Hint {
    pub(super) what: String,
    pub(super) todo: String,
}

/// All of them; none is the usual case.
pub(super) async fn hints(
    app: &App,
    standing: &Standing,
    now: DateTime<Utc>,
) -> Result<Vec<Hint>, Problem> {
    let plan = app.settings.plan.as_ref();
    let apart = plan.map(|plan| disagreements(plan, &standing.sample)).unwrap_or_default();
    let mut hints: Vec<Hint> = apart.iter().map(promised).collect();
    // A recorder or a database that does not answer is told elsewhere.
    if let Ok(state) = app.cameras.state().await {
        let cameras = app.cameras.list().await?;
        let cramped = keeping::cramped_now(app, &cameras, &state, now).await?;
        hints.extend(cramped.as_ref().map(|cramped| too_small(cramped, cameras.len())));
    }
    let vitals = app.health.vitals().await;
    let depths = vitals.lanes.iter().flatten();
    let waiting = depths.filter(|it| it.lane == Lane::Render).map(|it| it.waiting).sum();
    hints.extend(crowded(standing, waiting));
    Ok(hints)
}

fn promised(apart: &Disagreement) -> Hint {
    let Disagreement { resource, planned, detected } = *apart;
    let here = Reading { resource, scope: Scope::Host, used: detected, capacity: planned };
    let todo = if detected < planned {
        "SPARK s'en tient à ce qu'il y a. Vérifiez chez l'hébergeur ce que vous louez."
    } else {
        "SPARK s'en tient au forfait. Changez plan sous [resources] si vous louez davantage."
    };
    Hint {
        what: format!("Le forfait et la machine diffèrent : {} {}", name(resource), amount(&here)),
        todo: todo.to_owned(),
    }
}

fn too_small(cramped: &Cramped, cameras: usize) -> Hint {
    let Cramped { name, needs, room, hours_a_day } = cramped;
    Hint {
        what: format!("{name} ne tient pas sur le disque"),
        todo: format!(
            "{} à {hours_a_day} h par jour font {}, il y a place pour {}. Gardez moins de jours, ou agrandissez le disque.",
            counted(cameras as u64, "caméra", "caméras"),
            bytes(*needs),
            bytes(*room)
        ),
    }
}

/// Renders that wait because the live takes the processor, or because no memory is left.
fn crowded(standing: &Standing, waiting: i64) -> Option<Hint> {
    if waiting < RENDERS_WAITING {
        return None;
    }
    let holds = |on: Signal| {
        let mut raised = standing.raised.iter();
        raised.any(|it| it.on == on && it.actions.contains(&Action::HoldRenders))
    };
    let short = if holds(Signal::LiveCpu) {
        name(Resource::Cpu)
    } else if holds(Signal::Memory) {
        name(Resource::Memory)
    } else {
        return None;
    };
    Some(Hint {
        what: format!(
            "{} : le direct prend la place",
            counted(waiting as u64, "rendu attend", "rendus attendent")
        ),
        todo: format!(
            "Ils partiront d'eux-mêmes après le direct. Si cela revient chaque soir, il faut une machine plus grande ({}).",
            short.to_lowercase()
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::resources::Sample;
    use crate::domain::resources::trigger::Raised;

    fn standing(on: Signal) -> Standing {
        let actions = BTreeSet::from([Action::HoldRenders]);
        let raised = vec![Raised { on, share: 0.6, raise: 0.55, actions }];
        Standing { sample: Sample::default(), verdict: None, raised }
    }

    #[test]
    fn renders_that_wait_for_their_turn_are_no_hint() {
        assert!(crowded(&standing(Signal::LiveCpu), 2).is_none(), "two wait for two");
        assert!(crowded(&standing(Signal::Disk), 9).is_none(), "a full disk says so itself");
        let hint = crowded(&standing(Signal::LiveCpu), 3).expect("three wait");
        assert!(hint.what.starts_with("3\u{a0}rendus attendent"), "{}", hint.what);
        assert!(hint.todo.contains("processeur"), "{}", hint.todo);
    }

    #[test]
    fn a_plan_that_promises_more_says_who_to_ask() {
        let apart = Disagreement { resource: Resource::Disk, planned: 200e9, detected: 100e9 };
        let hint = promised(&apart);
        assert!(hint.what.contains("100") && hint.what.contains("200"), "{}", hint.what);
        assert!(hint.todo.contains("hébergeur"), "{}", hint.todo);
        let more = promised(&Disagreement { detected: 400e9, ..apart });
        assert!(more.todo.contains("plan"), "{}", more.todo);
    }
}
