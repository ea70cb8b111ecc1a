import FabricCore
import FabricDocument
import Foundation
import Testing

@testable import FabricScenario

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A small valid file. Tests replace parts of it.
let base = """
    scenario: test
    duration: 60s
    world:
      places: [north, south]
      nodes:
        - { group: edge, places: [north, south], count: 4 }
        - { group: hub, place: north }
    timeline:
      - at: 0s
        token: { name: t, uses: 5 }
      - at: 1s
        enrol: { nodes: all, token: t }
    expect:
      - by: 30s
        that: { enrolled: all }

    """

func plan(_ source: String) throws -> Plan { try ScenarioFile.plan(yaml: bytes(source), file: "f.yaml") }

/// The whole error as a person sees it; empty when the file is accepted.
func refusal(_ source: String) -> String {
    do {
        _ = try ScenarioFile.plan(yaml: bytes(source), file: "f.yaml")
        return ""
    } catch {
        return "\(error)"
    }
}

/// `base` with further steps and expectations.
func with(_ steps: String = "", expect: String = "") -> String {
    func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "  \($0)\n" }.joined()
    }
    return base.replacing("expect:\n", with: indented(steps) + "expect:\n") + indented(expect)
}

let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

func shippedScenarios() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: repository.appending(path: "Scenarios").path)
        .filter { $0.hasSuffix(".yaml") }.sorted()
}

func contents(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: repository.appending(path: path))) }
