import FabricCore
import FabricDocument
import FabricTestSupport
import FabricWire
import Testing

/// What is written and read directly must not differ from what `Codable` makes of it.
@Suite struct PlainDocumentTests {
    static let numbers: [Int64] = [0, 1, -1, 9, 10, 1_800_000_000_123, .max, .min]

    /// The long way.
    func text(_ value: some Encodable) throws -> [UInt8] { try JSON.canonical(DocumentEncoder().encode(value)) }

    @Test(arguments: numbers) func `a heartbeat's text is the canonical one, and reads back`(_ number: Int64) throws {
        let envelope = try JSON.decode(
            SignedEnvelope.self, from: Array(#"{"payload":"AQI","payloadType":"t","signatures":[]}"#.utf8))
        for record in [nil, envelope] {
            for hash in [nil, Blob([]), Blob(0..<32)] {
                let beat = ControlAPI.Heartbeat(
                    sequence: number, appliedVersion: 3, appliedHash: hash, peersUp: Int(number),
                    clockMilliseconds: number, record: record)
                #expect(try JSON.encode(beat) == text(beat))
                #expect(try JSON.decode(ControlAPI.Heartbeat.self, from: text(beat)) == beat)
            }
        }
    }

    @Test(arguments: numbers) func `a heartbeat reply's text is the canonical one, and reads back`(_ number: Int64)
        throws
    {
        for sequence in [nil, number] {
            let reply = ControlAPI.HeartbeatReply(
                snapshotVersion: number, clockMilliseconds: number, intervalSeconds: 15, recordSequence: sequence)
            #expect(try JSON.encode(reply) == text(reply))
            #expect(try JSON.decode(ControlAPI.HeartbeatReply.self, from: text(reply)) == reply)
        }
    }

    @Test func `mutated texts are read as Codable reads them, or refused in its words`() throws {
        let beat = ControlAPI.Heartbeat(
            sequence: 5, appliedVersion: 3, appliedHash: Blob(0..<32), peersUp: 4, clockMilliseconds: 1_800_000_000_123,
            record: nil)
        let reply = ControlAPI.HeartbeatReply(
            snapshotVersion: 1, clockMilliseconds: 2, intervalSeconds: 15, recordSequence: 7)
        let corpus =
            [try text(beat), try text(reply)]
            + [
                #"{"appliedVersion":1,"clockMilliseconds":2,"peersUp":3,"sequence":4,"other":5}"#,
                #"{"appliedVersion":1,"clockMilliseconds":2,"peersUp":3,"sequence":4,"record":null}"#,
                #"{"appliedHash":"!","appliedVersion":1,"clockMilliseconds":2,"peersUp":3,"sequence":4}"#,
                #"{"appliedHash":null,"appliedVersion":1,"clockMilliseconds":2,"peersUp":3,"sequence":4}"#,
                #"{"appliedVersion":1,"clockMilliseconds":2,"peersUp":3}"#,
                #"{"clockMilliseconds":2,"intervalSeconds":1.5,"snapshotVersion":1}"#,
                #"{"clockMilliseconds":2,"intervalSeconds":1,"snapshotVersion":1,"recordSequence":"x"}"#,
                "[]", "7",
            ].map { Array($0.utf8) }
        try Fuzz.run(corpus: corpus, seed: 41, iterations: 3_000) { bytes in
            expectSame(ControlAPI.Heartbeat.self, bytes)
            expectSame(ControlAPI.HeartbeatReply.self, bytes)
        }
    }

    func expectSame<Document: PlainDocument & Equatable>(_ type: Document.Type, _ bytes: [UInt8]) {
        func result(_ read: () throws(DocumentError) -> Document) -> Result<Document, DocumentError> {
            do { return .success(try read()) } catch { return .failure(error) }
        }
        let direct = result { () throws(DocumentError) in try JSON.decode(type, from: bytes) }
        let long = result { () throws(DocumentError) in try DocumentDecoder().decode(type, from: JSON.parse(bytes)) }
        switch (direct, long) {
        case (.success(let a), .success(let b)): #expect(a == b)
        case (.failure(let a), .failure(let b)): #expect("\(a)" == "\(b)")
        default: Issue.record("\(direct) and \(long) for \(String(decoding: bytes, as: UTF8.self))")
        }
    }
}
