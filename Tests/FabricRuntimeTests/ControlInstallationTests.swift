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
}
