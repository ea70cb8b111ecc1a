import FabricCore
import FabricScenario
import Simulator
import Testing

/// Blocks of a pcapng file: type and body.
private func blocks(_ file: [UInt8]) throws -> [(type: UInt32, body: [UInt8])] {
    func word(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(file[at + $1]) << (8 * UInt32($1)) } }
    var found: [(UInt32, [UInt8])] = []
    var at = 0
    while at < file.count {
        try #require(at + 12 <= file.count)
        let length = Int(word(at + 4))
        try #require(length % 4 == 0 && length >= 12 && at + length <= file.count)
        #expect(word(at + length - 4) == UInt32(length))
        found.append((word(at), Array(file[at + 8..<at + length - 4])))
        at += length
    }
    return found
}

private func capture(_ change: (inout UnderlayCapture.Filter, Plan) -> Void = { _, _ in }) throws -> (
    file: [UInt8], keys: String, hash: String
) {
    let plan = try ScenarioFile.plan(yaml: Array(smallFabric.utf8), file: "small-fabric.yaml")
    let run = ScenarioRun(plan: plan)
    run.keepJournal(maximumEntries: 1)
    var filter = UnderlayCapture.Filter()
    change(&filter, plan)
    var file: [UInt8] = []
    var keys = ""
    let capture = UnderlayCapture(run, filter: filter, keys: { keys += $0 }, write: { file += $0 })
    _ = run.run { _ in }
    #expect(capture.packetCount > 0 || filter.places != nil)
    return (file, keys, run.traceHash)
}

@Suite(.serialized) struct CaptureTests {
    @Test func `a capture does not change the run`() throws {
        #expect(try capture().hash == runSmallFabric(journal: false).run.traceHash)
    }

    @Test func `a capture is a pcapng file: section, names, an interface, keys before packets`() throws {
        let (file, keys, _) = try capture()
        let all = try blocks(file)
        #expect(all[0].type == 0x0A0D_0D0A)
        #expect(all[1].type == 4)
        let types = all.map(\.type)
        let secrets = try #require(types.firstIndex(of: 0xA))
        let packet = try #require(types.firstIndex(of: 6))
        let interface = try #require(types.firstIndex(of: 1))
        #expect(secrets < packet && interface < packet)
        #expect(types.count { $0 == 1 } == 1, "the two nodes have one line between them")
        #expect(String(decoding: all[interface].body, as: UTF8.self).contains("north-south"))
        #expect(all[secrets].body[..<4] == [0x4C, 0x4B, 0x47, 0x57])
        #expect(keys.contains("LOCAL_STATIC_PRIVATE_KEY = "))
        let comments = all.filter { $0.type == 6 }.count {
            String(decoding: $0.body, as: UTF8.self).contains("a partition cuts it off")
        }
        #expect(comments > 5)
    }

    @Test func `filters leave out what is elsewhere`() throws {
        let inner = try capture { filter, _ in filter.places = (0, 0) }
        #expect(try blocks(inner.file).allSatisfy { $0.type != 6 })
        let line = try capture { filter, _ in filter.places = (1, 0) }
        let node = try capture { filter, _ in filter.nodes = [1] }
        let whole = try capture()
        func packets(_ file: [UInt8]) throws -> Int { try blocks(file).count { $0.type == 6 } }
        #expect(try packets(line.file) == packets(whole.file))
        #expect(try packets(node.file) == packets(whole.file))
        // One end's keys open a session in both directions.
        #expect(try blocks(node.file).count { $0.type == 0xA } < blocks(whole.file).count { $0.type == 0xA })
    }
}
