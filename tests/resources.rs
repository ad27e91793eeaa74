//! `spark resources` as people run it: the machine against the 80 % line, the plan, who takes what.

mod process;
mod support;

use process::{Home, until};
use serde_json::Value;
use spark::domain::resources::Resource;

/// One look, as `--json` tells it.
fn look(home: &Home, settings: &[(&str, &str)]) -> Value {
    let said = home.start_with(&["resources", "--json"], settings).ended().well();
    serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The words of a list's rows under a key.
fn words<'a>(look: &'a Value, list: &str, key: &str) -> Vec<&'a str> {
    let rows = look[list].as_array().expect("a list");
    rows.iter().map(|row| row[key].as_str().expect("a word")).collect()
}

#[tokio::test]
async fn the_machine_is_shown_without_a_server_and_nothing_is_made() {
    let home = Home::private();

    let look = look(&home, &[]);

    let (seen, blind) = (words(&look, "readings", "resource"), words(&look, "blind", "resource"));
    for resource in
        [Resource::Cpu, Resource::Memory, Resource::Disk, Resource::Processes, Resource::Files]
    {
        let word = resource.as_str();
        assert!(seen.contains(&word) || blind.contains(&word), "{word} is neither: {look}");
    }
    assert_eq!(look["tenants"], Value::Array(Vec::new()), "another folder's are not ours");
    let page = home.run(&["resources"]).well();
    for word in ["cpu", "memory", "disk", "|", " %", "who", "nobody"] {
        assert!(page.contains(word), "`{word}` is missing in: {page}");
    }
    assert!(!home.data.exists(), "a look only looks");
}

#[tokio::test]
async fn a_watch_goes_on_until_it_is_told_to_stop() {
    let home = Home::private();
    let watch = home.start(&["resources", "--watch"]);
    let looks = || async { (watch.said().matches("who ").count() >= 2).then_some(()) };
    until("it looked twice", looks).await;
    watch.signal("INT");
    let said = watch.ended().well();
    assert!(!said.contains('\x1b'), "no terminal, no signs for one: {said}");
}

#[tokio::test]
async fn a_plan_that_is_not_this_machine_is_told_and_an_unknown_one_refused() {
    let home = Home::private();
    let plan = home.write("small.toml", "name = \"A small one\"\ncores = 0.25\nmemory_gb = 0.1\n");
    let plan = plan.to_str().expect("a plain path");

    let small = look(&home, &[("SPARK_RESOURCES_PLAN", plan)]);

    assert_eq!(words(&small, "disagreements", "resource"), ["cpu", "memory"], "{small}");
    assert!(words(&small, "readings", "scope").contains(&"plan"), "{small}");
    let page = home.start_with(&["resources"], &[("SPARK_RESOURCES_PLAN", plan)]).ended().well();
    assert!(page.contains("A small one") && page.contains("PLAN DISAGREES  cpu"), "{page}");
    let doctor = home.start_with(&["doctor"], &[("SPARK_RESOURCES_PLAN", plan)]).ended().said;
    assert!(doctor.contains("A small one is not this machine"), "{doctor}");

    home.write("spark.toml", "[resources]\nplan = \"hostinger-kvm3\"\n");
    for words in [&["resources"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        home.run(words).refused(&["hostinger-kvm3", "detected", "hostinger-kvm2"]);
    }
}

#[tokio::test]
async fn injected_shares_drive_any_level_and_a_garbled_file_is_blind() {
    let home = Home::private();
    let file = home.write("shares.json", r#"{"memory": 0.91}"#);
    let settings = [("SPARK_RESOURCES_INJECTED", file.to_str().expect("a plain path"))];

    let page = home.start_with(&["resources"], &settings).ended().well();
    let memory = page.lines().find(|line| line.contains("memory")).expect("a line");
    assert!(memory.contains("91 %") && memory.contains("OVER 80 %"), "{memory}");

    home.write("shares.json", r#"{"memory": "#);
    let dark = look(&home, &settings);
    assert_eq!(dark["readings"], Value::Array(Vec::new()));
    assert_eq!(words(&dark, "blind", "resource").len(), Resource::ALL.len());
}

#[tokio::test]
async fn who_takes_what_names_the_server_and_its_database() {
    let home = Home::private();
    let spark = home.start(&["serve", "--listen", "127.0.0.1:0"]);
    until("it serves", || async { spark.said().contains("SPARK: ").then_some(()) }).await;

    let look = look(&home, &[]);

    let tenant = |role: &str| {
        let rows = look["tenants"].as_array().expect("a list");
        let found = rows.iter().find(|row| row["role"] == role);
        found.unwrap_or_else(|| panic!("no {role} in {look}")).clone()
    };
    assert_eq!(words(&look, "tenants", "role"), ["serve", "database"], "{look}");
    assert_eq!(tenant("serve")["pid"], spark.pid());
    assert_eq!(tenant("database")["pid"].as_i64(), home.postmaster().map(i64::from));
    for role in ["serve", "database"] {
        let (tenant, megabyte) = (tenant(role), 1e6);
        assert!(tenant["memory"]["resident"].as_f64() > Some(megabyte), "{tenant}");
        assert!(tenant["memory"]["anonymous"].as_f64() > Some(megabyte), "{tenant}");
        assert!(tenant["cores"].as_f64().is_some_and(|cores| cores < 64.0), "{tenant}");
    }
    // The month's account is kept where the data are.
    assert!(home.data.join("transfer.json").is_file());
    spark.signal("TERM");
    spark.ended().well();
}
