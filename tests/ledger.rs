//! What every ledger promises, kept by the twin in memory and by PostgreSQL alike.

mod support;

#[tokio::test]
async fn a_fresh_database_is_migrated_and_empty() {
    let pool = support::fresh_database().await;
    let events: i64 =
        sqlx::query_scalar("select count(*) from event_log").fetch_one(&pool).await.unwrap();
    assert_eq!(events, 0);
}
