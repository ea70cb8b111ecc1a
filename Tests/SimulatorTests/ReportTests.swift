import FabricScenario
import Foundation
import Simulator
import Testing

private func page(seed: UInt64 = 1) throws -> String {
    let (run, verdict, recorder) = try runSmallFabric(seed: seed, report: true)
    return String(
        decoding: try ReportPage.html(
            run, try #require(recorder), verdict, Replay(file: "small-fabric.yaml", seed: seed)), as: UTF8.self)
}

private func data(of page: String) throws -> [String: Any] {
    let start = try #require(page.range(of: "const D = "))
    let end = try #require(page.range(of: ";\n", range: start.upperBound..<page.endIndex))
    let json = Data(page[start.upperBound..<end.lowerBound].utf8)
    return try #require(JSONSerialization.jsonObject(with: json) as? [String: Any])
}

@Suite(.serialized) struct ReportTests {
    @Test func `the same run gives the same page, byte for byte`() throws {
        #expect(try page() == page())
    }

    @Test func `the page loads nothing from anywhere`() throws {
        let page = try page()
        for forbidden in ["http://", "https://", "src=", "@import", "url("] {
            // The one namespace that scripts must name.
            let text = page.replacingOccurrences(of: "http://www.w3.org/2000/svg", with: "")
            #expect(!text.contains(forbidden), "\(forbidden)")
        }
    }

    @Test func `a report tells verdict, faults, expectations and the replay command`() throws {
        let data = try data(of: try page())
        #expect(data["held"] as? Bool == false)
        #expect(data["command"] as? String == "rap sim run small-fabric.yaml --seed 1")
        #expect(data["arguments"] as? String == "small-fabric.yaml --seed 1")
        let bars = try #require(data["bars"] as? [[String: Any]])
        let cut = try #require(bars.first { $0["word"] as? String == "partition" })
        #expect(cut["spans"] as? [[Double]] == [[20, 30]])
        #expect(cut["isOperation"] as? Bool == false)
        let expectations = try #require(data["expectations"] as? [[String: Any]])
        #expect(expectations.map { $0["outcome"] as? String } == ["held", "broken"])
        #expect((expectations[1]["why"] as? String)?.contains("can't reach right") == true)
    }

    @Test func `every column of samples is as long as the times`() throws {
        let data = try data(of: try page())
        let count = try #require(data["times"] as? String).split(separator: ",").count
        #expect(count > 100)
        for (name, values) in try #require(data["series"] as? [String: String]) {
            #expect(values.split(separator: ",", omittingEmptySubsequences: false).count == count, "\(name)")
        }
    }

    @Test func `the columns of events have one length, and no index points outside`() throws {
        let data = try data(of: try page())
        let events = try #require(data["events"] as? [String: Any])
        let texts = try #require(events["texts"] as? [String])
        let kept = try #require(events["kept"] as? Int)
        for name in ["id", "time", "kind", "host", "peer", "cause", "text", "outcome"] {
            let column = try #require(events[name] as? String).split(separator: ",").compactMap { Int($0) }
            #expect(column.count == kept, "\(name)")
            if name == "text" || name == "outcome" { #expect(column.allSatisfy { texts.indices.contains($0) }) }
        }
    }
}
