//! The door for people, on a real server: who gets in, what stays out, what goes through.

mod access;
mod alerts;
mod channels;
mod direct;
mod forms;
mod house;
mod logins;
mod mailbox;
mod media;
mod resources;
mod server;
mod sessions;
mod studio;
mod uploads;
