import FabricCore
import FabricDocument
import FabricTestSupport
import Foundation
import Testing

@testable import FabricScenario

@Suite struct ShippedScenarioTests {
    private func plans() throws -> [(name: String, plan: Plan)] {
        try shippedScenarios().map { ($0, try ScenarioFile.plan(yaml: contents("Scenarios/\($0)"), file: $0)) }
    }

    @Test func `every shipped scenario is valid and named as its file`() throws {
        let plans = try plans()
        for wanted in [
            "first-light", "two-sites", "token-replay", "control-outage-reboot", "lost-answer-enrolment",
            "clock-ten-minutes-off",
        ] { #expect(plans.contains { $0.plan.name == wanted }) }
        for (name, plan) in plans {
            #expect(name == "\(plan.name).yaml")
            #expect(!plan.about.isEmpty && !plan.explanation.isEmpty)
        }
    }

    @Test func `first light is what it claims to be`() throws {
        let plan = try #require(try plans().first { $0.plan.name == "first-light" }).plan
        #expect(plan.nodes.count == 300 && plan.places.count == 5 && plan.cluster.peers == 4)
        #expect(plan.duration >= .minutes(10))
        #expect(plan.defaultLink.lossPartsPerMillion == 10_000)
        #expect(plan.links.allSatisfy { $0.link.lossPartsPerMillion == 10_000 })
        #expect(plan.hosts == [.simulator])
    }

    @Test func `two sites runs in both hosts and in about a minute`() throws {
        let plan = try #require(try plans().first { $0.plan.name == "two-sites" }).plan
        #expect(plan.hosts == [.simulator, .live])
        #expect(plan.nodes.count == 3 && plan.duration <= .seconds(75))
    }

    @Test func `the reference's example is valid and its keys are the decoder's`() throws {
        let reference = String(decoding: try contents("docs/scenarios.md"), as: UTF8.self)
        let example = try #require(reference.components(separatedBy: "```yaml\n").dropFirst().first)
        let source = try #require(example.components(separatedBy: "```").first)
        #expect(try plan(source).hosts == [.simulator, .live])
        for key in FormatKeys.objects.flatMap(\.keys) { #expect(reference.contains(key), "\(key) is not explained") }
    }

    // MARK: The schema

    @Test func `the schema names exactly the keys that the decoder knows`() throws {
        let schema = try JSON.parse(contents("docs/scenario.schema.json"))
        let definitions = try #require(schema["$defs"])
        for (name, keys) in FormatKeys.objects {
            let listed = definitions[name]?["properties"]?.object?.map(\.key) ?? []
            #expect(listed.sorted() == keys.sorted(), "\(name)")
            #expect(definitions[name]?["additionalProperties"]?.bool == false, "\(name)")
        }
        let objects = definitions.object?.filter { $0.value["properties"] != nil }.map(\.key) ?? []
        #expect(objects.sorted() == FormatKeys.objects.map(\.name).sorted())
        func choices(_ path: [String]) -> [String] {
            path.reduce(Optional(definitions)) { $0?[$1] }?["enum"]?.array?.compactMap(\.string) ?? []
        }
        #expect(choices(["loseAnswers", "properties", "request"]) == RequestKind.allCases.map(\.rawValue))
        #expect(choices(["refused", "properties", "reason"]) == EnrolmentRefusal.allCases.map(\.rawValue))
        #expect(choices(["swarm", "properties", "faults", "items"]) == FaultKind.allCases.map(\.rawValue))
        #expect(choices(["swarm", "properties", "vary", "items"]) == WorldFeature.allCases.map(\.rawValue))
        #expect(choices(["scenario", "properties", "hosts", "items"]) == ScenarioHost.allCases.map(\.rawValue))
    }

    @Test func `every shipped scenario satisfies the schema, and a wrong one does not`() throws {
        let schema = Schema(root: try JSON.parse(contents("docs/scenario.schema.json")))
        for name in try shippedScenarios() {
            let tree = try YAMLDocument.parse(contents("Scenarios/\(name)"))
            #expect(schema.problem(tree) == nil, "\(name)")
        }
        #expect(schema.problem(try YAMLDocument.parse(bytes(base))) == nil)
        let wrong = base.replacing("uses: 5", with: "usess: 5")
        #expect(schema.problem(try YAMLDocument.parse(bytes(wrong))) != nil)
        let twice = base.replacing("enrol:", with: "approve: { nodes: all }\n    enrol:")
        #expect(schema.problem(try YAMLDocument.parse(bytes(twice))) != nil)
    }

    // MARK: Fuzz

    @Test func `mutated files never trap, and a refusal has a place or a reason`() throws {
        let sources = try shippedScenarios().filter { $0 != "first-light.yaml" }.map { try contents("Scenarios/\($0)") }
        let words = [
            "all", "-1", "[", "]", "{", "}", ": ", "- ", "\n", "\n  ", "for: ", "1s", "99999999h", "&a ", "*a", "null",
            "'", "\"",
            "edge[1..2]", "nodes: ", "0", "#", "!", "%", "|", ">", "\t", "\u{0}",
        ].map(bytes)
        var accepted = 0
        try Fuzz.run(corpus: sources, words: words, cost: 50, seed: 11, iterations: 1_500) { input in
            do {
                let plan = try ScenarioFile.plan(yaml: input, file: "f")
                accepted += 1
                #expect(!plan.explanation.isEmpty)
            } catch {
                #expect("\(error)".hasPrefix("f:"))
            }
        }
        // More than the files themselves.
        #expect(accepted > sources.count + 20)
    }
}

/// As much of JSON Schema as the shipped schema uses; patterns are left to editors.
struct Schema {
    let root: DocumentNode

    func problem(_ node: DocumentNode) -> String? { problem(node, root) }

    private func problem(_ node: DocumentNode, _ schema: DocumentNode) -> String? {
        if let reference = schema["$ref"]?.string {
            let target = reference.split(separator: "/").dropFirst().reduce(Optional(root)) { $0?[String($1)] }
            guard let target else { return "no \(reference)" }
            return problem(node, target)
        }
        for part in schema["allOf"]?.array ?? [] { if let problem = problem(node, part) { return problem } }
        if let parts = schema["anyOf"]?.array, !parts.contains(where: { problem(node, $0) == nil }) {
            return "none of anyOf"
        }
        if let parts = schema["oneOf"]?.array, parts.count(where: { problem(node, $0) == nil }) != 1 {
            return "not one of oneOf"
        }
        if let type = schema["type"] {
            let types = type.string.map { [$0] } ?? type.array?.compactMap(\.string) ?? []
            if !types.contains(self.type(node)) { return "\(self.type(node)) is not \(types)" }
        }
        if let choices = schema["enum"]?.array, !choices.contains(node) { return "not in enum" }
        for key in schema["required"]?.array?.compactMap(\.string) ?? [] where node[key] == nil { return "no \(key)" }
        for element in node.array ?? [] {
            if let items = schema["items"], let problem = problem(element, items) { return problem }
        }
        if let least = schema["minItems"]?.integer, let count = node.array?.count, count < least { return "too few" }
        for member in node.object ?? [] {
            if let property = schema["properties"]?[member.key] {
                if let problem = problem(member.value, property) { return "\(member.key): \(problem)" }
            } else if let other = schema["additionalProperties"] {
                if other.bool == false { return "unknown \(member.key)" }
                if let problem = problem(member.value, other) { return "\(member.key): \(problem)" }
            }
        }
        return nil
    }

    private func type(_ node: DocumentNode) -> String {
        switch node.value {
        case .null: "null"
        case .bool: "boolean"
        case .integer: "integer"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
