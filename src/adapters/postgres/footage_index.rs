//! The index of footage in PostgreSQL: one row a file.

use async_trait::async_trait;
use sqlx::PgPool;
use uuid::Uuid;

use crate::adapters::postgres::while_doing;
use crate::domain::ids::{CameraId, RecordingId};
use crate::ports::PortError;
use crate::ports::dvr::PartPlace;
use crate::ports::footage_index::{FootageIndex, Held, IndexedFile, Known};

/// The index of one database.
#[derive(Clone)]
pub struct PostgresFootageIndex {
    pool: PgPool,
}

impl PostgresFootageIndex {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl FootageIndex for PostgresFootageIndex {
    async fn put(&self, files: &[IndexedFile]) -> Result<(), PortError> {
        let doing = "write the index of footage";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        for file in files {
            let (from_ns, to_ns, bytes) = file.extent();
            let column = |of: fn(&PartPlace) -> i64| file.parts.iter().map(of).collect::<Vec<_>>();
            let short = |of: fn(&PartPlace) -> u32| {
                file.parts.iter().map(|part| of(part).cast_signed()).collect::<Vec<_>>()
            };
            let keys: Vec<bool> = file.parts.iter().map(|part| part.is_key).collect();
            sqlx::query!(
                "insert into footage_files
                        (recording, file, camera, from_ns, to_ns, bytes, is_closed,
                         numbers, offsets, lengths, dts, ticks, utc_ns, keys)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                 on conflict (recording, file) do update set
                        from_ns = excluded.from_ns, to_ns = excluded.to_ns, bytes = excluded.bytes,
                        is_closed = excluded.is_closed, numbers = excluded.numbers,
                        offsets = excluded.offsets, lengths = excluded.lengths, dts = excluded.dts,
                        ticks = excluded.ticks, utc_ns = excluded.utc_ns, keys = excluded.keys",
                file.recording.as_uuid(),
                file.file.cast_signed(),
                file.camera.as_uuid(),
                from_ns,
                to_ns,
                bytes.cast_signed(),
                file.is_closed,
                &short(|part| part.number),
                &column(|part| part.offset.cast_signed()),
                &short(|part| part.bytes),
                &column(|part| part.dts),
                &column(|part| part.ticks),
                &column(|part| part.utc_ns),
                &keys,
            )
            .execute(&mut *tx)
            .await
            .map_err(while_doing(doing))?;
        }
        tx.commit().await.map_err(while_doing(doing))
    }

    async fn forget(&self, files: &[(RecordingId, u32)]) -> Result<(), PortError> {
        let recordings: Vec<Uuid> =
            files.iter().map(|(recording, _)| recording.as_uuid()).collect();
        let numbers: Vec<i32> = files.iter().map(|(_, file)| file.cast_signed()).collect();
        sqlx::query!(
            "delete from footage_files f using unnest($1::uuid[], $2::int[]) as gone (recording, file)
              where f.recording = gone.recording and f.file = gone.file",
            &recordings,
            &numbers,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("forget footage"))?;
        Ok(())
    }

    async fn known(&self) -> Result<Vec<Known>, PortError> {
        let rows = sqlx::query!("select recording, file, is_closed from footage_files")
            .fetch_all(&self.pool)
            .await
            .map_err(while_doing("read the index of footage"))?;
        let known = rows.into_iter().map(|row| Known {
            recording: RecordingId::from_uuid(row.recording),
            file: row.file.cast_unsigned(),
            is_closed: row.is_closed,
        });
        Ok(known.collect())
    }

    async fn file(
        &self,
        recording: RecordingId,
        file: u32,
    ) -> Result<Option<IndexedFile>, PortError> {
        let row = sqlx::query!(
            "select camera, is_closed, numbers, offsets, lengths, dts, ticks, utc_ns, keys
               from footage_files where recording = $1 and file = $2",
            recording.as_uuid(),
            file.cast_signed(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("read a file of the index of footage"))?;
        let Some(row) = row else { return Ok(None) };
        let camera = CameraId::from_uuid(row.camera);
        let part = |at: usize| {
            Some(PartPlace {
                camera,
                recording,
                file,
                number: row.numbers.get(at)?.cast_unsigned(),
                offset: row.offsets.get(at)?.cast_unsigned(),
                bytes: row.lengths.get(at)?.cast_unsigned(),
                dts: *row.dts.get(at)?,
                ticks: *row.ticks.get(at)?,
                utc_ns: *row.utc_ns.get(at)?,
                is_key: *row.keys.get(at)?,
            })
        };
        let parts = (0..row.numbers.len()).map_while(part).collect();
        Ok(Some(IndexedFile { camera, recording, file, is_closed: row.is_closed, parts }))
    }

    async fn held(&self) -> Result<Vec<Held>, PortError> {
        let rows = sqlx::query!(
            r#"select camera, count(*) as "files!", sum(bytes)::bigint as "bytes!",
                      sum(to_ns - from_ns)::bigint as "lasts_ns!",
                      min(from_ns) as "from_ns!", max(to_ns) as "to_ns!"
                 from footage_files group by camera order by camera"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("add up the index of footage"))?;
        let held = rows.into_iter().map(|row| Held {
            camera: CameraId::from_uuid(row.camera),
            files: row.files.cast_unsigned(),
            bytes: row.bytes.cast_unsigned(),
            lasts_ns: row.lasts_ns,
            from_utc_ns: row.from_ns,
            to_utc_ns: row.to_ns,
        });
        Ok(held.collect())
    }
}
