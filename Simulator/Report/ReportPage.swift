internal import FabricDocument
public import FabricScenario

/// The report: one HTML file with everything in it. The same run gives the same bytes.
///
/// `report.html` is the page; the style sheet, the scripts and the data go where it names them. Scripts share one scope,
/// in this order: the model, the map, the rows along the time axis, the chart, the events with the head of the page.
public enum ReportPage {
    /// `recorder` has watched the whole run; `replay` says which one it was.
    public static func html(
        _ run: ScenarioRun, _ recorder: ReportRecorder, _ verdict: Verdict, _ replay: Replay
    ) throws -> [UInt8] {
        let data = try JSON.encode(ReportData(run, recorder, verdict, replay))
        // In a script element a “<” could end it; in JSON it stands in strings only, where an escape means the same.
        var safe: [UInt8] = []
        safe.reserveCapacity(data.count + 1024)
        for byte in data { if byte == UInt8(ascii: "<") { safe += "\\u003c".utf8 } else { safe.append(byte) } }
        let scripts =
            PackageResources.report_model_js + PackageResources.report_map_js + PackageResources.report_time_js
            + PackageResources.report_chart_js + PackageResources.report_events_js
        var page = PackageResources.report_html
        page = replace("/*STYLE*/", in: page, with: PackageResources.report_css)
        page = replace("/*SCRIPT*/", in: page, with: scripts)
        return replace("/*DATA*/null", in: page, with: safe)
    }

    private static func replace(_ marker: String, in page: [UInt8], with content: [UInt8]) -> [UInt8] {
        let marker = Array(marker.utf8)
        let position = page.indices.first { page[$0] == marker[0] && page[$0...].starts(with: marker) }
        guard let position else { preconditionFailure("the template has no place for a part of the page") }
        return page[..<position] + content + page[(position + marker.count)...]
    }
}
