//! Declares routes with who may call them. There is no way to add one without saying so.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::domain::accounts::{Permission, Role, may};
use crate::web::guard::{Gate, guard};
use crate::web::{App, shed};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not; no session is looked up.
    Public,
    /// Whoever is signed in: their own session and nothing else.
    SignedIn,
    /// Who holds this permission.
    Needs(Permission),
    /// Who holds this permission, a program with the measures token, or one on this very machine.
    MeasuresOr(Permission),
    /// Who holds this permission, or a program with the key to mark the named channel.
    MarkKeyOr(Permission),
    /// The platform: each message is signed, and its handler checks that.
    Signed,
    /// Who holds the permission that the named media asks for, or a signed link to it.
    Media,
}

impl Access {
    /// Whether a role is let in; a medium is counted as one that asks for the least.
    pub const fn admits(self, role: Role) -> bool {
        match self {
            Self::Public | Self::SignedIn | Self::Signed => true,
            Self::Needs(permission)
            | Self::MeasuresOr(permission)
            | Self::MarkKeyOr(permission) => may(role, permission),
            Self::Media => may(role, Permission::SeeClips),
        }
    }
}

/// A route as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
}

/// Routes in the making.
pub struct Routes {
    app: App,
    router: Router<App>,
    declared: Vec<Declared>,
}

impl Routes {
    pub(super) fn new(app: App) -> Self {
        Self { app, router: Router::new(), declared: Vec::new() }
    }

    /// A route that only reads (GET and HEAD).
    #[must_use]
    pub fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::GET, path, access, get(handler))
    }

    /// A route that changes something (POST). The guard has checked where the request comes from and its form token.
    #[must_use]
    pub fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::POST, path, access, post(handler))
    }

    /// A POST whose body may be as large as a recording; the handler itself counts and limits it.
    #[must_use]
    pub(super) fn upload<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::POST, path, access, post(handler).layer(DefaultBodyLimit::disable()))
    }

    /// A POST of another server, which signs what it sends: no browser, no form. The handler checks the signature over the
    /// raw body of at most `bytes_max`.
    #[must_use]
    pub(super) fn signed_post<H, T>(self, path: &'static str, bytes_max: usize, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let handler = post(handler).layer(DefaultBodyLimit::max(bytes_max));
        self.add(Method::POST, path, Access::Signed, handler)
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: MethodRouter<App>,
    ) -> Self {
        let gate = Gate { app: self.app.clone(), access, class: shed::class_of(&method, path) };
        self.router = self.router.route(path, handler.route_layer(from_fn_with_state(gate, guard)));
        self.declared.push(Declared { method, path, access });
        self
    }

    pub(super) fn finish(self) -> (Router<App>, Vec<Declared>) {
        (self.router, self.declared)
    }
}
