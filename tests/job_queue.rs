//! What every job queue promises, kept by the twin in memory and by PostgreSQL alike.

mod support;

use std::time::Duration;

use spark::domain::job::{JOB_ATTEMPTS_MAX, JOB_LEASE, JobState, Lane, retry_pause};
use spark::ports::job_queue::Lease;
use spark::ports::ledger::{Commit, CommitError};
use support::databases::Database;
use support::samples;

kept_by_memory_and_postgres!(
    an_order_is_claimed_with_what_it_says,
    an_equal_order_under_way_is_not_repeated_and_one_after_it_is,
    orders_of_one_commit_are_taken_in_their_order,
    a_lane_runs_no_more_than_it_allows_however_many_ask,
    lanes_do_not_wait_for_each_other,
    a_killed_workers_job_is_taken_up_within_15_s_and_its_late_result_refused,
    a_renewed_lease_is_kept,
    a_failed_try_waits_longer_each_time_then_rests,
    a_refused_job_rests_at_once,
    a_job_that_kills_every_worker_goes_to_rest,
    people_can_try_a_failed_job_again,
    nothing_is_retried_while_an_equal_job_is_under_way,
    a_waiting_job_is_cancelled_at_once,
    a_running_job_hears_that_people_want_it_to_stop,
    what_people_asked_to_stop_is_not_tried_again,
    a_job_handed_back_waits_untried,
    a_worker_that_lost_its_lease_changes_nothing,
    progress_is_seen_by_people,
    jobs_are_listed_running_first_and_depths_counted,
    nothing_is_known_of_an_unknown_job,
);

async fn an_order_is_claimed_with_what_it_says(db: Database) {
    assert_eq!(db.claim(Lane::Cut).await, None);
    let (id, fresh) = db.order(samples::cut_clip(1)).await;
    assert!(fresh);
    let claimed = db.claim(Lane::Cut).await.unwrap();
    assert_eq!((claimed.ticket.id, claimed.attempt), (id, 1));
    assert_eq!(claimed.job, samples::cut_clip(1));
    assert_eq!(state(&db, id).await, JobState::Running);
    db.finish(&claimed, vec![samples::week_opened(1)]).await.unwrap();
    let done = db.queue.find(id).await.unwrap().unwrap();
    assert_eq!((done.state, done.progress), (JobState::Done, 1.0));
    assert!(done.finished_at.is_some());
    assert_eq!(db.claim(Lane::Cut).await, None);
}

async fn an_equal_order_under_way_is_not_repeated_and_one_after_it_is(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    assert_eq!(db.order(samples::cut_clip(1)).await, (id, false), "while it waits");
    let claimed = db.claim(Lane::Cut).await.unwrap();
    assert_eq!(db.order(samples::cut_clip(1)).await, (id, false), "while it runs");
    let commit = Commit { jobs: vec![samples::cut_clip(1); 2], ..Commit::default() };
    let twice = db.ledger.commit(commit).await.unwrap();
    assert_eq!(twice.jobs, [(id, false), (id, false)]);
    db.finish(&claimed, Vec::new()).await.unwrap();
    let (again, fresh) = db.order(samples::cut_clip(1)).await;
    assert!(fresh && again != id, "after it is done");
}

async fn orders_of_one_commit_are_taken_in_their_order(db: Database) {
    let jobs: Vec<_> = [3, 1, 2, 5, 4].map(samples::cut_clip).to_vec();
    db.ledger.commit(Commit { jobs: jobs.clone(), ..Commit::default() }).await.unwrap();
    for job in jobs {
        let claimed = db.claim(Lane::Cut).await.unwrap();
        assert_eq!(claimed.job, job);
        db.finish(&claimed, Vec::new()).await.unwrap();
    }
}

async fn a_lane_runs_no_more_than_it_allows_however_many_ask(db: Database) {
    for n in 0..8 {
        db.order(samples::cut_clip(n)).await;
    }
    let mut done = 0;
    while done < 8 {
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let db = db.of_another_process().await;
            workers.spawn(async move { db.claim(Lane::Cut).await });
        }
        let claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
        assert_eq!(claimed.len() as i64, Lane::Cut.running_max(), "claimed at once");
        for job in claimed {
            db.finish(&job, Vec::new()).await.unwrap();
            done += 1;
        }
    }
    assert_eq!(db.claim(Lane::Cut).await, None);
}

async fn lanes_do_not_wait_for_each_other(db: Database) {
    db.order(samples::cut_clip(1)).await;
    db.order(spark::domain::job::Job::RenderReel { clip: samples::clip(1) }).await;
    assert!(db.claim(Lane::Cut).await.is_some());
    assert!(db.claim(Lane::Render).await.is_some());
    assert!(db.claim(Lane::Detect).await.is_none());
}

async fn a_killed_workers_job_is_taken_up_within_15_s_and_its_late_result_refused(db: Database) {
    const TAKEN_UP_MAX: Duration = Duration::from_secs(15);
    let (id, _) = db.order(samples::cut_clip(1)).await;
    let killed = db.claim(Lane::Cut).await.unwrap();
    assert!(JOB_LEASE < TAKEN_UP_MAX);
    db.pass(JOB_LEASE.checked_sub(Duration::from_secs(2)).unwrap()).await;
    assert_eq!(db.claim(Lane::Cut).await, None, "the lease still runs");
    db.pass(TAKEN_UP_MAX.checked_sub(JOB_LEASE).unwrap()).await;
    let second = db.of_another_process().await.claim(Lane::Cut).await.expect("taken up again");
    assert_eq!(second.ticket.id, id);
    assert!(second.ticket.fence > killed.ticket.fence);
    assert_eq!(second.attempt, 2);

    let late = db.finish(&killed, vec![samples::clip_requested(1)]).await;
    assert!(matches!(late, Err(CommitError::LeaseLost)), "{late:?}");
    db.finish(&second, vec![samples::clip_requested(1)]).await.unwrap();
    let later = db.finish(&killed, vec![samples::clip_requested(1)]).await;
    assert!(matches!(later, Err(CommitError::LeaseLost)), "{later:?}");
    let twice = db.finish(&second, vec![samples::clip_requested(1)]).await;
    assert!(matches!(twice, Err(CommitError::LeaseLost)), "{twice:?}");
    assert_eq!(db.sequence().await.len(), 1, "exactly one result");
}

async fn a_renewed_lease_is_kept(db: Database) {
    db.order(samples::cut_clip(1)).await;
    let held = db.claim(Lane::Cut).await.unwrap();
    for _ in 0..4 {
        db.pass(JOB_LEASE.checked_sub(Duration::from_secs(2)).unwrap()).await;
        assert_eq!(db.queue.renew(held.ticket, 0.5, "").await.unwrap(), Lease::Held);
        assert_eq!(db.claim(Lane::Cut).await, None);
    }
}

async fn a_failed_try_waits_longer_each_time_then_rests(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    for attempt in 1..JOB_ATTEMPTS_MAX {
        let claimed = db.claim(Lane::Cut).await.unwrap();
        assert_eq!(claimed.attempt, attempt);
        let stands = db.queue.fail(claimed.ticket, "no luck", true).await.unwrap();
        assert_eq!(stands, Some(JobState::Waiting));
        db.pass(retry_pause(attempt).checked_sub(Duration::from_secs(1)).unwrap()).await;
        assert_eq!(db.claim(Lane::Cut).await, None, "after try {attempt}: too early");
        db.pass(Duration::from_secs(1)).await;
    }
    let last = db.claim(Lane::Cut).await.unwrap();
    let stands = db.queue.fail(last.ticket, "at the end", true).await.unwrap();
    assert_eq!(stands, Some(JobState::Failed));
    let view = db.queue.find(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempt), (JobState::Failed, JOB_ATTEMPTS_MAX));
    assert_eq!(view.error.as_deref(), Some("at the end"));
    assert!(view.finished_at.is_some());
    db.pass(Duration::from_hours(1)).await;
    assert_eq!(db.claim(Lane::Cut).await, None);
}

async fn a_refused_job_rests_at_once(db: Database) {
    db.order(samples::cut_clip(1)).await;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    let stands = db.queue.fail(claimed.ticket, "hostile file", false).await.unwrap();
    assert_eq!(stands, Some(JobState::Failed));
    db.pass(Duration::from_hours(1)).await;
    assert_eq!(db.claim(Lane::Cut).await, None);
}

async fn a_job_that_kills_every_worker_goes_to_rest(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    db.order(samples::cut_clip(2)).await;
    for attempt in 1..=JOB_ATTEMPTS_MAX {
        let claimed = db.claim(Lane::Cut).await.unwrap();
        assert_eq!((claimed.ticket.id, claimed.attempt), (id, attempt));
        db.pass(JOB_LEASE).await;
    }
    let next = db.claim(Lane::Cut).await.expect("the next job gets its turn");
    assert_eq!(next.job, samples::cut_clip(2));
    let view = db.queue.find(id).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Failed);
    assert!(view.error.is_some(), "people read why");
}

async fn people_can_try_a_failed_job_again(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    assert!(!db.queue.retry(id).await.unwrap(), "it waits");
    let claimed = db.claim(Lane::Cut).await.unwrap();
    assert!(!db.queue.retry(id).await.unwrap(), "it runs");
    db.queue.fail(claimed.ticket, "no", false).await.unwrap();
    assert!(db.queue.retry(id).await.unwrap());
    let again = db.claim(Lane::Cut).await.unwrap();
    assert_eq!((again.ticket.id, again.attempt), (id, 1), "a new round of tries");
    assert!(again.ticket.fence > claimed.ticket.fence);
    db.finish(&again, Vec::new()).await.unwrap();
    assert!(!db.queue.retry(id).await.unwrap(), "it is done");
    assert_eq!(db.queue.find(id).await.unwrap().unwrap().error, None);
}

async fn nothing_is_retried_while_an_equal_job_is_under_way(db: Database) {
    let (first, _) = db.order(samples::cut_clip(1)).await;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.fail(claimed.ticket, "no", false).await.unwrap();
    let (second, fresh) = db.order(samples::cut_clip(1)).await;
    assert!(fresh);
    assert!(!db.queue.retry(first).await.unwrap());
    assert_eq!(state(&db, first).await, JobState::Failed);
    assert!(db.queue.ask_cancel(second).await.unwrap());
    assert!(db.queue.retry(first).await.unwrap());
}

async fn a_waiting_job_is_cancelled_at_once(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    assert!(db.queue.ask_cancel(id).await.unwrap());
    assert_eq!(state(&db, id).await, JobState::Cancelled);
    assert_eq!(db.claim(Lane::Cut).await, None);
    assert!(!db.queue.ask_cancel(id).await.unwrap(), "it is over");
    assert!(db.queue.retry(id).await.unwrap(), "people may change their mind");
    let again = db.claim(Lane::Cut).await.unwrap();
    assert_eq!(db.queue.renew(again.ticket, 0.0, "").await.unwrap(), Lease::Held);
}

async fn a_running_job_hears_that_people_want_it_to_stop(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    assert!(db.queue.ask_cancel(id).await.unwrap());
    assert_eq!(state(&db, id).await, JobState::Running, "until its worker has stopped");
    assert_eq!(db.queue.renew(claimed.ticket, 0.1, "").await.unwrap(), Lease::CancelAsked);
    db.queue.cancelled(claimed.ticket).await.unwrap();
    assert_eq!(state(&db, id).await, JobState::Cancelled);
    assert_eq!(db.claim(Lane::Cut).await, None);
}

async fn what_people_asked_to_stop_is_not_tried_again(db: Database) {
    // Its try fails, its worker stops, its worker dies: each time it is over.
    let failing = db.order(samples::cut_clip(1)).await.0;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.ask_cancel(failing).await.unwrap();
    let stands = db.queue.fail(claimed.ticket, "no", true).await.unwrap();
    assert_eq!(stands, Some(JobState::Cancelled));

    let handed_back = db.order(samples::cut_clip(2)).await.0;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.ask_cancel(handed_back).await.unwrap();
    db.queue.hand_back(claimed.ticket).await.unwrap();

    let killed = db.order(samples::cut_clip(3)).await.0;
    db.claim(Lane::Cut).await.unwrap();
    db.queue.ask_cancel(killed).await.unwrap();
    db.pass(Duration::from_hours(1)).await;
    assert_eq!(db.claim(Lane::Cut).await, None);
    for id in [failing, handed_back, killed] {
        assert_eq!(state(&db, id).await, JobState::Cancelled);
    }
}

async fn a_job_handed_back_waits_untried(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.hand_back(claimed.ticket).await.unwrap();
    assert_eq!(state(&db, id).await, JobState::Waiting);
    let again = db.claim(Lane::Cut).await.expect("at once");
    assert_eq!(again.attempt, 1, "the interrupted try does not count");
    assert!(again.ticket.fence > claimed.ticket.fence);
}

async fn a_worker_that_lost_its_lease_changes_nothing(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    let lost = db.claim(Lane::Cut).await.unwrap();
    db.pass(JOB_LEASE).await;
    let held = db.claim(Lane::Cut).await.unwrap();
    assert_eq!(db.queue.renew(lost.ticket, 0.9, "late").await.unwrap(), Lease::Lost);
    assert_eq!(db.queue.fail(lost.ticket, "late", false).await.unwrap(), None);
    db.queue.cancelled(lost.ticket).await.unwrap();
    db.queue.hand_back(lost.ticket).await.unwrap();
    let view = db.queue.find(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempt), (JobState::Running, 2));
    assert_eq!((view.progress, view.note.as_str(), view.error), (0.0, "", None));
    assert_eq!(db.queue.renew(held.ticket, 0.1, "").await.unwrap(), Lease::Held);
}

async fn progress_is_seen_by_people(db: Database) {
    let (id, _) = db.order(samples::cut_clip(1)).await;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.renew(claimed.ticket, 0.25, "Découpe").await.unwrap();
    let view = db.queue.find(id).await.unwrap().unwrap();
    assert_eq!((view.progress, view.note.as_str()), (0.25, "Découpe"));
    db.queue.renew(claimed.ticket, 7.0, "").await.unwrap();
    let progress = db.queue.find(id).await.unwrap().unwrap().progress;
    assert!((progress - 1.0).abs() < f32::EPSILON, "never above 1: {progress}");
}

async fn jobs_are_listed_running_first_and_depths_counted(db: Database) {
    let failed = db.order(samples::cut_clip(1)).await.0;
    let claimed = db.claim(Lane::Cut).await.unwrap();
    db.queue.fail(claimed.ticket, "no", false).await.unwrap();
    let running = db.order(samples::cut_clip(2)).await.0;
    db.claim(Lane::Cut).await.unwrap();
    let waiting = db.order(samples::cut_clip(3)).await.0;
    let listed: Vec<_> = db.queue.list().await.unwrap().into_iter().map(|view| view.id).collect();
    assert_eq!(listed, [running, waiting, failed]);
    let depths = db.queue.depths().await.unwrap();
    assert_eq!(depths.len(), Lane::ALL.len(), "an empty lane is told too");
    for depth in depths {
        let expected = if depth.lane == Lane::Cut { (1, 1, 1) } else { (0, 0, 0) };
        assert_eq!((depth.waiting, depth.running, depth.failed), expected, "{:?}", depth.lane);
    }
}

async fn nothing_is_known_of_an_unknown_job(db: Database) {
    let unknown = spark::domain::ids::JobId::from_uuid(samples::clip(1).as_uuid());
    assert_eq!(db.queue.find(unknown).await.unwrap(), None);
    assert!(!db.queue.retry(unknown).await.unwrap());
    assert!(!db.queue.ask_cancel(unknown).await.unwrap());
}

async fn state(db: &Database, id: spark::domain::ids::JobId) -> JobState {
    db.queue.find(id).await.unwrap().expect("the job").state
}
