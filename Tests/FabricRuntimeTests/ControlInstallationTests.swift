import FabricControl
import FabricCore
import FabricRuntime
import Foundation
import Logging
import Testing

/// What a control plane does when something of its state is gone: a new one in its place would know no cluster, and no node
/// would know it.
struct ControlInstallationTests {
    private let state = FileManager.default.temporaryDirectory.path + "/rap-state-\(UUID().uuidString)"

    /// Makes the state and opens it once, as the first run does.
    private func make() throws {
        let (installation, _) = try ControlInstallation.initialise(
            state, endpoint: .address(Endpoint("127.0.0.1:1")!), operatorFile: state + ".operator.json")
        _ = try host(installation)
    }

    private func host(_ installation: ControlInstallation) throws -> ControlHost {
        try ControlHost(
            installation,
            settings: ControlHostSettings(
                listen: Endpoint("127.0.0.1:0")!,
                control: ControlSettings(adminTokenHash: try installation.adminTokenHash())),
            logger: Logger(label: "quiet", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    private func remove() {
        for path in [state, state + ".operator.json"] { try? FileManager.default.removeItem(atPath: path) }
    }

    @Test(arguments: ["master-secret", "server-root-certificate"])
    func `a key that is missing is asked for, and not made anew`(_ name: String) throws {
        defer { remove() }
        try make()
        let file = state + "/keys/" + name
        try FileManager.default.moveItem(atPath: file, toPath: state + "/away")
        let error = #expect(throws: ControlInstallationError.self) { _ = try ControlInstallation.open(state) }
        #expect("\(try #require(error))".hasPrefix("\(file) is missing: put it back from a backup"))
        #expect(!FileManager.default.fileExists(atPath: file))
        try FileManager.default.moveItem(atPath: state + "/away", toPath: file)
        _ = try host(ControlInstallation.open(state))
    }

    @Test(arguments: [true, false])
    func `a database that is missing or empty is asked for, and not made anew`(_ isEmpty: Bool) throws {
        defer { remove() }
        try make()
        let file = state + "/db/control.sqlite"
        try FileManager.default.moveItem(atPath: state + "/db", toPath: state + "/away")
        if isEmpty {
            try FileManager.default.createDirectory(atPath: state + "/db", withIntermediateDirectories: false)
            try #require(FileManager.default.createFile(atPath: file, contents: Data()))
        }
        let error = #expect(throws: ControlInstallationError.self) { _ = try host(ControlInstallation.open(state)) }
        #expect("\(try #require(error))".hasPrefix("\(file) is missing or empty: put it back from a backup"))
        if isEmpty { try FileManager.default.removeItem(atPath: state + "/db") }
        try FileManager.default.moveItem(atPath: state + "/away", toPath: state + "/db")
        _ = try host(ControlInstallation.open(state))
    }

    private func refusal() throws -> String {
        let error = #expect(throws: ControlInstallationError.self) { _ = try host(ControlInstallation.open(state)) }
        return "\(try #require(error))"
    }

    private func change(_ file: String, _ change: (inout Data) -> Void) throws {
        var contents = try Data(contentsOf: URL(filePath: file))
        change(&contents)
        // In place: it stays the user's alone.
        let handle = try FileHandle(forWritingTo: URL(filePath: file))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: contents)
        try handle.close()
    }

    @Test func `a key that is damaged in any byte is told with its path and the mend`() throws {
        defer { remove() }
        try make()
        let root = state + "/keys/server-root-certificate"
        let whole = try Data(contentsOf: URL(filePath: root))
        for index in whole.indices {
            try change(root) { $0[index] ^= 1 }
            #expect(try refusal().hasPrefix("\(root) is damaged, "), "byte \(index)")
            try change(root) { $0 = whole }
        }
        for contents in [Data(), Data("-----BEGIN CERTIFICATE-----".utf8), whole.dropLast()] {
            try change(root) { $0 = contents }
            #expect(try refusal().contains("put it back from a backup"))
        }
        try change(root) { $0 = whole }
        for name in ["master-secret", "admin-token-hash"] {
            let file = state + "/keys/" + name
            try change(file) { $0.removeLast() }
            #expect(try refusal().hasPrefix("\(file) is damaged, it has 31 bytes, not 32: put it back"))
            try change(file) { $0.append(1) }
        }
        // Nothing tells that 32 bytes are others, but what was made from them.
        try change(state + "/keys/master-secret") { $0[7] ^= 1 }
        #expect(try refusal().contains("master-secret and server-root-certificate don't belong together"))
    }

    @Test func `a database that is damaged is told with its path and the mend, and left as it is`() throws {
        defer { remove() }
        try make()
        // Opened again, the log has been copied into the database, and has nothing to repair it with.
        _ = try host(ControlInstallation.open(state))
        let file = state + "/db/control.sqlite"
        let whole = try Data(contentsOf: URL(filePath: file))
        func expectRefusal(_ damage: (inout Data) -> Void) throws {
            try change(file) { contents in
                contents = whole
                damage(&contents)
            }
            let damaged = try Data(contentsOf: URL(filePath: file))
            let text = try refusal()
            #expect(text.hasPrefix("\(file) is damaged, "), "\(text)")
            #expect(text.contains("put \(state)/db back from a backup"), "\(text)")
            #expect(try Data(contentsOf: URL(filePath: file)) == damaged)
        }
        try expectRefusal { $0 = Data("It was a dark and stormy night.\n".utf8) }
        try expectRefusal { $0.replaceSubrange(0..<16, with: Data(repeating: 0, count: 16)) }
        try expectRefusal { $0.replaceSubrange(4096..<8192, with: Data(repeating: 0xA5, count: 4096)) }
        try expectRefusal { $0.removeLast(5000) }
        try change(file) { $0 = whole }
        _ = try host(ControlInstallation.open(state))
    }
}
