//! Where the cluster lies and whose it is: root, an ordinary user, containers, full disks.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use spark::adapters::postgres::cluster::Cluster;
use spark::adapters::postgres::cluster::error::ClusterError;

use crate::scratch::{Scratch, User, is_root, kill, path};

#[test]
fn an_ordinary_user_keeps_everything_in_the_data_folder() {
    if !is_root() {
        return; // Every other test runs as an ordinary user then.
    }
    let long = "x".repeat(100);
    for name in ["data", "l'été, \"villa\" $HOME `id` %H", &long] {
        let scratch = Scratch::of_nobody(name);
        let mut user = User::start_as_nobody(&scratch.data);
        let (pid, arrival) = user.ready();

        assert_eq!(arrival, "Started");
        assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 65534);
        assert!(!scratch.data.join("postgres/home").exists());
        assert_eq!(fs::metadata(scratch.pgdata()).unwrap().uid(), 65534);
        assert_eq!(user.tell("select 'bonjour'::text"), "answer Ok(\"bonjour\")");
        user.kill();
        let mut next = User::start_as_nobody(&scratch.data);
        assert_eq!(next.ready(), (pid, "Adopted".to_owned()));
        // Root may open it as well; the server stays the user's.
        let mut root = User::start(&scratch.data);
        assert_eq!(root.ready(), (pid, "Adopted".to_owned()));
        assert_eq!(root.tell("close"), "closed LeftRunning");
        assert_eq!(next.tell("close"), "closed Stopped");
        let mut root = User::start(&scratch.data);
        let (pid, _) = root.ready();
        assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 65534);
        assert_eq!(root.tell("close"), "closed Stopped");
        let mut next = User::start_as_nobody(&scratch.data);
        next.ready();
        assert_eq!(next.tell("close"), "closed Stopped");
    }
}

#[test]
fn root_runs_the_server_under_another_account_and_leaves_the_folders_of_people_alone() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(&scratch.data).unwrap();
    fs::set_permissions(&scratch.data, fs::Permissions::from_mode(0o751)).unwrap();

    let mut user = User::start(&scratch.data);
    let (pid, _) = user.ready();

    assert_ne!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0);
    assert!(scratch.home().starts_with("/var/lib/spark"));
    assert_eq!(fs::metadata(&scratch.data).unwrap().permissions().mode() & 0o777, 0o751);
    assert_eq!(user.tell("close"), "closed Stopped");
}

#[test]
fn root_in_a_container_that_may_not_look_at_other_accounts_manages_too() {
    if !is_root() {
        return;
    }
    let through = ["setpriv", "--bounding-set=-sys_ptrace"];
    let scratch = Scratch::new();
    let mut user = User::start_through(&through, &scratch.data);
    let (pid, _) = user.ready();
    let blind = Command::new(through[0])
        .args([through[1], "readlink", &format!("/proc/{pid}/cwd")])
        .output()
        .unwrap();
    assert!(!blind.status.success(), "the working folder cannot be seen");
    user.kill();

    let mut next = User::start_through(&through, &scratch.data);
    assert_eq!(next.ready(), (pid, "Adopted".to_owned()));
    kill(pid);
    let mut third = User::start_through(&through, &scratch.data);
    assert_eq!(third.ready().1, "Started");
    assert_eq!(third.tell("close"), "closed LeftRunning");
    assert_eq!(next.tell("close"), "closed Stopped");
}

#[tokio::test]
async fn a_copied_data_folder_does_not_share_the_database_and_a_moved_one_keeps_it() {
    if !is_root() {
        return; // Only root's cluster lies outside the data folder.
    }
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let copy = scratch.data.with_file_name("copy");
    assert!(Command::new("cp").arg("-a").arg(&scratch.data).arg(&copy).status().unwrap().success());

    let error = Cluster::open(&copy, &path()).await.map(|cluster| cluster.pid()).unwrap_err();
    assert!(matches!(error, ClusterError::OwnedByOther { .. }), "{error}");

    fs::remove_dir_all(&copy).unwrap();
    fs::rename(&scratch.data, &copy).unwrap();
    assert!(
        Cluster::status(&copy, &path())
            .unwrap()
            .abandoned
            .contains(&fs::read_to_string(copy.join("postgres/home")).unwrap().trim().into())
    );
    Cluster::open(&copy, &path()).await.unwrap().close().await.unwrap();
    fs::rename(&copy, &scratch.data).unwrap();
    scratch.open().await.close().await.unwrap();
}

#[test]
fn a_full_disk_is_told_and_harms_nothing() {
    if !is_root() {
        return; // Only root can make a small disk.
    }
    let scratch = Scratch::of_nobody("data");
    fs::create_dir(&scratch.data).unwrap();
    let mount = |size: &str| {
        let options = format!("size={size},uid=65534,gid=65534,mode=0700");
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&scratch.data)
            .status()
            .unwrap()
            .success()
    };
    let unmount = || assert!(Command::new("umount").arg(&scratch.data).status().unwrap().success());
    assert!(mount("40m"), "the test needs to mount");
    let said = User::start_as_nobody(&scratch.data).only_words();
    unmount();
    assert!(said.starts_with("error the disk of") && said.contains("is full"), "{said}");

    assert!(mount("300m"));
    let mut user = User::start_as_nobody(&scratch.data);
    user.ready();
    assert_eq!(user.tell("close"), "closed Stopped");
    let filler = scratch.data.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let said = User::start_as_nobody(&scratch.data).only_words();
    drop(file);
    fs::remove_file(&filler).unwrap();
    let mut user = User::start_as_nobody(&scratch.data);
    let again = user.hear();
    let closed = user.tell("close");
    drop(user);
    unmount();

    assert!(said.starts_with("error the disk of") && said.contains("is full"), "{said}");
    assert!(again.starts_with("ready"), "{again}");
    assert_eq!(closed, "closed Stopped");
}

#[test]
fn a_folder_of_somebody_else_is_told() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let mut user = User::start(&scratch.data);
    user.ready();
    user.tell("close");
    fs::set_permissions(scratch.data.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();

    let said = User::start_as_nobody(&scratch.data).only_words();

    assert!(said.starts_with("error permission denied on"), "{said}");
}

#[test]
fn a_machine_without_postgresql_is_told_what_to_install() {
    let said = ClusterError::NotInstalled { seen: vec![9] }.to_string();

    assert!(said.contains("apt-get install postgresql") && said.contains("found only 9"), "{said}");
}
