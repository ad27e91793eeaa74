//! « Ressources »: how full the machine is against its 80 % line, what gives way and why, how it was, and who takes what.

mod hints;

use std::collections::BTreeSet;
use std::fmt::Write;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Html;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::domain::resources::trigger::{Action, Raised, Signal};
use crate::domain::resources::{Blind, CEILING, Reading, Resource, Scope};
use crate::ports::PortError;
use crate::ports::host::{Tenant, TenantRole};
use crate::use_cases::resources::Standing;
use crate::web::pages::french::{bytes, count, counted, length, number, percent, rough};
use crate::web::pages::resources::hints::{Hint, hints};
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, page};

/// From this share on a resource is worth a look, short of the line.
const NEAR: f64 = 0.70;
/// A full share that is drawn: beyond, the bar is at its end.
const DRAWN_MAX: f64 = 1.0;
/// From this duty on renders are not slowed.
const DUTY_WHOLE: f64 = 0.98;
/// Columns of a history, and its height in the drawing's own units.
const COLUMNS: usize = 60;
const HEIGHT: f64 = 40.0;
/// Times that are told until a disk is at the line: beyond, nobody worries.
const LINE_WITHIN: TimeDelta = TimeDelta::days(14);

/// Which time the history shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lasts {
    #[default]
    Heure,
    Jour,
    Semaine,
}

impl Lasts {
    const ALL: [Self; 3] = [Self::Heure, Self::Jour, Self::Semaine];

    const fn time(self) -> TimeDelta {
        match self {
            Self::Heure => TimeDelta::hours(1),
            Self::Jour => TimeDelta::days(1),
            Self::Semaine => TimeDelta::days(7),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Heure => "heure",
            Self::Jour => "jour",
            Self::Semaine => "semaine",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Heure => "Une heure",
            Self::Jour => "Un jour",
            Self::Semaine => "Une semaine",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    duree: Lasts,
}

struct Tab {
    name: &'static str,
    word: &'static str,
    is_here: bool,
}

/// A resource against its line.
struct Gauge {
    name: &'static str,
    share: String,
    /// « 42.00% » of the gauge that is filled.
    filled: String,
    class: &'static str,
    words: String,
    /// A drawing of the time before: the points of a closed shape; several when there are gaps.
    history: Vec<String>,
    /// When it will be at the line.
    warning: Option<String>,
}

struct TenantRow {
    name: &'static str,
    cores: String,
    memory: String,
    threads: String,
}

/// A reason with everything that follows from it.
struct GivingWay {
    why: String,
    what: String,
}

#[derive(Template)]
#[template(path = "pages/resources.html")]
pub(super) struct ResourcesPage {
    shell: Shell,
    verdict: String,
    tabs: Vec<Tab>,
    giving_way: Vec<GivingWay>,
    gauges: Vec<Gauge>,
    blind: Vec<String>,
    hints: Vec<Hint>,
    tenants: Vec<TenantRow>,
    lasts: Lasts,
}

/// `GET /ressources`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let tenants = {
        let tenants = app.tenants.clone();
        // Reads a file or two of every process.
        let listed = tokio::task::spawn_blocking(move || tenants.list()).await;
        listed.map_err(|error| PortError::lasting("look at who works here", error))?
    };
    let hints = hints(&app, &app.resources.standing(), app.clock.now()).await?;
    page(&resources_page(&app, &user, tenants, hints, asked.duree))
}

fn resources_page(
    app: &App,
    user: &User,
    tenants: Result<Vec<Tenant>, PortError>,
    hints: Vec<Hint>,
    lasts: Lasts,
) -> ResourcesPage {
    let (standing, now) = (app.resources.standing(), app.clock.now());
    let mut blind: Vec<String> = standing.sample.blind.iter().map(blind_words).collect();
    let tenants = tenants.unwrap_or_else(|error| {
        blind.push(format!("Qui utilise quoi : {}", error.chain()));
        Vec::new()
    });
    let renders = tenants.iter().filter(|tenant| tenant.role == TenantRole::Render).count();
    let gauges: Vec<Gauge> = Resource::ALL
        .into_iter()
        .filter_map(|resource| gauge(app, &standing, resource, lasts, now))
        .collect();
    ResourcesPage {
        shell: Shell::new(user, Place::Health),
        verdict: verdict(&standing, &gauges),
        tabs: Lasts::ALL
            .map(|tab| Tab { name: tab.name(), word: tab.word(), is_here: tab == lasts })
            .into(),
        giving_way: giving_way(&standing, renders),
        gauges,
        blind,
        hints,
        tenants: tenants.iter().map(tenant_row).collect(),
        lasts,
    }
}

fn verdict(standing: &Standing, gauges: &[Gauge]) -> String {
    if gauges.is_empty() {
        return "SPARK ne voit pas cette machine : les rendus attendent.".to_owned();
    }
    if gauges.iter().any(|gauge| gauge.class == "bad") {
        return "Une ressource a atteint 80 % : le direct garde ce qu'il lui faut, le reste cède."
            .to_owned();
    }
    if standing.raised.is_empty() {
        "Tout tient sous les 80 %.".to_owned()
    } else {
        "Le direct a la priorité : quelque chose cède pour rester sous les 80 %.".to_owned()
    }
}

/// A resource as it stands; none when nobody reads it.
fn gauge(
    app: &App,
    standing: &Standing,
    resource: Resource,
    lasts: Lasts,
    now: DateTime<Utc>,
) -> Option<Gauge> {
    let reading = reading(standing, resource)?;
    let share = reading.ratio();
    let (columns, left) = app.resources.history(|history| {
        (history.columns(resource, now, lasts.time(), COLUMNS), history.time_to_line(resource))
    });
    let fills = matches!(resource, Resource::Disk | Resource::Inodes | Resource::Transfer);
    let left = left.filter(|left| fills && *left < LINE_WITHIN);
    Some(Gauge {
        name: name(resource),
        share: percent(share),
        filled: format!("{:.2}%", share.clamp(0.0, DRAWN_MAX) * 100.0),
        class: class(share),
        words: format!("{} · {}", amount(&reading), scope_name(reading.scope)),
        history: shapes(&columns),
        warning: left.map(|left| format!("À 80 % dans {}", length(left.num_milliseconds()))),
    })
}

/// CPU as the governor saw it last, the rest as it was read.
fn reading(standing: &Standing, resource: Resource) -> Option<Reading> {
    let read = standing.sample.tightest(resource).copied();
    match (resource, standing.verdict) {
        (Resource::Cpu, Some(verdict)) => {
            let capacity = read.map_or(1.0, |read| read.capacity);
            let used = verdict.total.min(1.0) * capacity;
            Some(Reading { resource, scope: verdict.scope, used, capacity })
        }
        _ => read,
    }
}

const fn class(share: f64) -> &'static str {
    if share >= CEILING {
        "bad"
    } else if share >= NEAR {
        "warn"
    } else {
        "good"
    }
}

/// Shapes below the line of a history, one for each stretch without a gap.
fn shapes(columns: &[Option<f64>]) -> Vec<String> {
    let y = |share: f64| HEIGHT * (1.0 - share.clamp(0.0, DRAWN_MAX));
    let mut told = Vec::new();
    let seen: Vec<(usize, &Option<f64>)> = columns.iter().enumerate().collect();
    for stretch in seen.split(|(_, share)| share.is_none()).filter(|it| !it.is_empty()) {
        let (first, last) = (stretch[0].0, stretch[stretch.len() - 1].0 + 1);
        let mut points = format!("{first},{HEIGHT}");
        for (column, share) in stretch {
            let y = y(share.unwrap_or_default());
            let _ = write!(points, " {column},{y:.1} {},{y:.1}", column + 1);
        }
        let _ = write!(points, " {last},{HEIGHT}");
        told.push(points);
    }
    told
}

/// What gives way now, by its reasons.
fn giving_way(standing: &Standing, renders: usize) -> Vec<GivingWay> {
    let mut told = Vec::new();
    let signals: BTreeSet<Signal> = standing.raised.iter().map(|raised| raised.on).collect();
    for signal in signals {
        let here: Vec<&Raised> = standing.raised.iter().filter(|it| it.on == signal).collect();
        let actions: BTreeSet<Action> = here.iter().flat_map(|it| it.actions.clone()).collect();
        let what: Vec<&str> = actions.into_iter().filter_map(what).collect();
        let raise = here.iter().map(|it| it.raise).fold(f64::INFINITY, f64::min);
        told.extend(here.first().map(|raised| GivingWay {
            why: why(signal, raised.share, raise),
            what: if what.is_empty() {
                "Rien ne cède encore.".to_owned()
            } else {
                format!("{}.", what.join(" · "))
            },
        }));
    }
    let duty = standing.verdict.map_or(0.0, |verdict| verdict.duty);
    let is_stopped = standing.is_on(Action::StopRenders);
    if renders > 0 && !is_stopped && standing.verdict.is_some() && duty < DUTY_WHOLE {
        told.push(GivingWay {
            why: "Les rendus laissent la place au direct".to_owned(),
            what: format!("Ils tournent {} du temps.", percent(duty)),
        });
    }
    told
}

const fn what(action: Action) -> Option<&'static str> {
    match action {
        Action::HoldRenders => Some("Les nouveaux rendus attendent"),
        Action::StopRenders => Some("Les rendus en cours sont en pause"),
        Action::ShedSheddable => Some("Les imports sont remis à plus tard"),
        Action::MergeFanOut => Some("Les pages du direct avancent une fois par seconde"),
        Action::RefuseStreams => Some("Pas de nouvelle page de direct, sauf la console"),
        Action::RefusePages => Some("Les pages qui peuvent attendre sont refusées"),
        Action::Alert => None,
    }
}

fn why(on: Signal, share: f64, raise: f64) -> String {
    let subject = match on {
        Signal::LiveCpu => "Hors rendus, le processeur est pris à",
        Signal::Cpu => "Le processeur a été pris à",
        Signal::Memory => "La mémoire est occupée à",
        Signal::Disk => "Le disque est plein à",
        Signal::Inodes => "Le disque compte ses fichiers à",
        Signal::DiskRate => "Le disque travaille à",
        Signal::NetworkRate => "Le réseau est pris à",
        Signal::Transfer => "Le transfert du mois est à",
        Signal::Processes => "Les processus sont à",
        Signal::Files => "Les fichiers ouverts sont à",
        Signal::Connections => "Les connexions à la base sont à",
        Signal::QueueWait => "L'attente des pages est à",
    };
    // Ticks of the kernel's clock let a second of everything look like a little more.
    let share = if matches!(on, Signal::LiveCpu | Signal::Cpu) { share.min(1.0) } else { share };
    format!("{subject} {} (seuil {})", percent(share), percent(raise))
}

const fn name(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "Processeur",
        Resource::Memory => "Mémoire",
        Resource::Disk => "Disque",
        Resource::Inodes => "Fichiers du disque",
        Resource::DiskRate => "Débit du disque",
        Resource::NetworkRate => "Réseau",
        Resource::Transfer => "Transfert du mois",
        Resource::Processes => "Processus",
        Resource::Files => "Fichiers ouverts",
        Resource::Connections => "Connexions à la base",
        Resource::QueueWait => "Attente des pages",
    }
}

const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Host => "machine",
        Scope::Cgroup => "conteneur",
        Scope::Plan => "forfait",
        Scope::Process => "SPARK",
        Scope::Service => "base de données",
    }
}

/// « 1,3 sur 2 cœurs », « 3,1 Go sur 8 Go ».
fn amount(reading: &Reading) -> String {
    let Reading { used, capacity, .. } = *reading;
    match reading.resource {
        Resource::Cpu => format!("{} sur {} cœurs", number(used, 1), rough(capacity)),
        Resource::Memory | Resource::Disk | Resource::Transfer => {
            format!("{} sur {}", bytes(used as u64), bytes(capacity as u64))
        }
        Resource::DiskRate => {
            format!("{}/s sur {}/s", bytes(used as u64), bytes(capacity as u64))
        }
        Resource::NetworkRate => {
            format!("{} sur {} Mbit/s", rough(used / 1e6), rough(capacity / 1e6))
        }
        Resource::Inodes | Resource::Processes | Resource::Files | Resource::Connections => {
            format!("{} sur {}", count(used as u64), count(capacity as u64))
        }
        Resource::QueueWait => {
            format!("{} sur {} ms", rough(used * 1e3), rough(capacity * 1e3))
        }
    }
}

fn blind_words(blind: &Blind) -> String {
    format!("{} ({}) : {}", name(blind.resource), scope_name(blind.scope), blind.why)
}

fn tenant_row(tenant: &Tenant) -> TenantRow {
    TenantRow {
        name: match tenant.role {
            TenantRole::Serve => "Pages et travaux",
            TenantRole::Record => "Enregistreur",
            TenantRole::Listen => "Écoute de Twitch",
            TenantRole::Work => "Travaux",
            TenantRole::Database => "Base de données",
            TenantRole::Render => "Rendu",
            TenantRole::Demux => "Réception SRT",
            TenantRole::Command => "Commande",
        },
        cores: tenant.cores.map_or_else(|| "–".to_owned(), |cores| number(cores, 2)),
        memory: bytes(tenant.memory.anonymous),
        threads: counted(tenant.threads, "fil", "fils"),
    }
}

impl ResourcesPage {
    /// Where the 80 % line stands in a gauge, and in a history.
    const LINE: &'static str = "80%";
    const HISTORY_LINE: f64 = HEIGHT * (1.0 - CEILING);
    const COLUMNS: usize = COLUMNS;
    const HEIGHT: f64 = HEIGHT;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_drawn_stretch_by_stretch() {
        let drawn = shapes(&[Some(0.5), None, Some(1.2), Some(0.0)]);
        assert_eq!(drawn, ["0,40 0,20.0 1,20.0 1,40", "2,40 2,0.0 3,0.0 3,40.0 4,40.0 4,40"]);
        assert!(shapes(&[None, None]).is_empty());
    }

    #[test]
    fn the_line_itself_is_already_too_much() {
        assert_eq!((class(0.80), class(0.79), class(0.5)), ("bad", "warn", "good"));
    }
}
