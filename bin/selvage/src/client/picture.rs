//! A mistake drawn at its place in the text.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use selvage_model::manifest::Diagnostic;

/// The mistake with the line it is in, without colour.
pub fn draw(name: &str, text: &str, diagnostic: &Diagnostic) -> String {
    let span = diagnostic.span.start..diagnostic.span.start + diagnostic.span.len.max(1);
    let picture = MietteDiagnostic::new(diagnostic.message.clone())
        .with_label(LabeledSpan::new_with_span(Some("here".to_owned()), span));
    let picture = match &diagnostic.hint {
        Some(hint) => picture.with_help(hint.clone()),
        None => picture,
    };
    let report = Report::new(picture).with_source_code(NamedSource::new(name, text.to_owned()));
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    match handler.render_report(&mut out, report.as_ref()) {
        Ok(()) => out,
        Err(_) => format!("{name}:{diagnostic}\n"),
    }
}
