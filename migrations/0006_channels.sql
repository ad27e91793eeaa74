-- Channels somebody linked. Their tokens stand apart, sealed.
create table channels (
    id           text primary key,
    login        text not null,
    name         text not null,
    scopes       text[] not null,
    linked_at    timestamptz not null,
    validated_at timestamptz not null,
    trouble      text
);

-- Tokens, each sealed (XChaCha20-Poly1305: nonce, then ciphertext) and bound to its row, column and key. The keys are not here.
create table channel_tokens (
    channel      text primary key references channels (id) on delete cascade,
    key_id       text not null,
    access       bytea not null,
    refresh      bytea,
    expires_at   timestamptz not null
);

-- Linkings begun in a browser, by the hash of their state.
create table channel_links (
    state_hash   bytea primary key,
    session_hash bytea not null,
    return_url   text not null,
    expires_at   timestamptz not null
);

-- How many watched, kept for good. A look that failed is a row without a number.
create table viewer_samples (
    channel           text not null,
    fetched_at        timestamptz not null,
    status            text not null,
    viewers           integer,
    title             text,
    category          text,
    stream_started_at timestamptz,
    primary key (channel, fetched_at),
    constraint viewer_samples_number check ((status = 'live') = (viewers is not null))
);
