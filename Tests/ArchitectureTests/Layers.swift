/// What each target may import: the arrows of `docs/ARCHITECTURE.md`. A new target gets a row here first.
struct Layer: Sendable {
    enum Role: Sendable {
        /// Synchronous, told the time, handed its randomness, no I/O.
        case deciding
        /// Links a library behind one of FabricCore's contracts, for both hosts.
        case adapter
        /// Part of the Linux host.
        case linuxHost
        case simulator
        /// Arguments and wiring.
        case program
        /// For test targets alone.
        case testSupport
    }

    var name: String
    var role: Role
    /// Targets of this package.
    var targets: Set<String>
    /// Products of other packages and modules of the toolchain.
    var modules: Set<String>
    var path: String

    init(_ name: String, _ role: Role, _ targets: Set<String>, modules: Set<String> = [], path: String? = nil) {
        self.name = name
        self.role = role
        self.targets = targets
        self.modules = modules
        self.path = path ?? "Sources/\(name)"
    }
}

enum Layers {
    static let all: [Layer] = [
        Layer("FabricCore", .deciding, []),
        Layer("FabricDocument", .deciding, ["FabricCore"]),
        Layer("FabricWire", .deciding, ["FabricCore", "FabricDocument"]),
        Layer("FabricPolicy", .deciding, ["FabricCore", "FabricWire"]),
        Layer("FabricPacket", .deciding, ["FabricCore"]),
        Layer("FabricTunnel", .deciding, ["FabricCore"]),
        Layer("FabricMesh", .deciding, ["FabricCore", "FabricDocument", "FabricWire", "FabricTunnel"]),
        Layer("FabricControl", .deciding, ["FabricCore", "FabricDocument", "FabricWire", "FabricPolicy"]),
        Layer("FabricOperator", .deciding, ["FabricCore", "FabricDocument", "FabricWire"]),
        Layer(
            "FabricNode", .deciding,
            ["FabricCore", "FabricDocument", "FabricPacket", "FabricWire", "FabricTunnel", "FabricMesh"]),
        Layer("FabricScenario", .deciding, ["FabricCore", "FabricDocument"], modules: ["Yams"]),

        Layer(
            "FabricCrypto", .adapter, ["FabricCore", "CFabricCipher", "CFabricOpenSSL"], modules: ["Crypto", "Glibc"]),
        Layer("FabricIdentity", .adapter, ["FabricCore"], modules: ["Crypto", "SwiftASN1"]),
        Layer(
            "FabricStoreSQLite", .adapter, ["FabricCore", "CFabricSQLite"],
            modules: ["GRDB", "Foundation", "Glibc", "Synchronization"]),

        Layer(
            "FabricStorePostgres", .linuxHost, ["FabricCore", "CFabricPostgres"],
            modules: ["Glibc", "Synchronization"]),
        Layer(
            "FabricLinux", .linuxHost, ["FabricCore", "FabricPacket", "CFabricLinux"],
            modules: ["Glibc", "Synchronization"]),
        Layer("FabricCapture", .linuxHost, ["FabricCore", "CFabricPcap"], modules: ["Glibc", "Synchronization"]),
        Layer(
            "FabricRuntime", .linuxHost,
            [
                "FabricCore", "FabricDocument", "FabricPacket", "FabricWire", "FabricControl", "FabricNode",
                "FabricOperator", "FabricCrypto", "FabricIdentity", "FabricStoreSQLite", "FabricStorePostgres",
                "FabricLinux",
            ],
            modules: [
                "NIOCore", "NIOPosix", "NIOHTTP1", "NIOTLS", "NIOSSL", "Logging", "Dispatch", "Glibc", "Foundation",
                "Synchronization",
            ]),
        Layer(
            "FabricLive", .linuxHost,
            [
                "FabricCore", "FabricDocument", "FabricWire", "FabricNode", "FabricScenario", "FabricLinux",
                "FabricCapture",
            ], modules: ["Foundation", "Glibc", "Synchronization"]),

        Layer(
            "Simulator", .simulator,
            [
                "FabricCore", "FabricDocument", "FabricWire", "FabricTunnel", "FabricMesh", "FabricControl",
                "FabricNode", "FabricOperator", "FabricScenario", "FabricCrypto", "FabricIdentity",
                "FabricStoreSQLite",
            ], path: "Simulator"),

        Layer(
            "FabricPostgresTestSupport", .testSupport, ["FabricCore", "FabricStorePostgres"], modules: ["Glibc"],
            path: "Tests/PostgresSupport"),
        Layer("FabricTestSupport", .testSupport, ["FabricCore"], modules: ["Glibc"], path: "Tests/Support"),

        Layer("FabricCommand", .program, [], modules: programModules),
        Layer(
            "rap", .program,
            [
                "FabricCommand", "FabricCore", "FabricDocument", "FabricWire", "FabricControl", "FabricOperator",
                "FabricLinux",
                "FabricRuntime",
            ], modules: programModules),
        Layer(
            "rap-sim", .program, ["FabricCommand", "FabricCore", "FabricDocument", "FabricScenario", "Simulator"],
            modules: programModules),
        Layer(
            "rap-live", .program,
            [
                "FabricCommand", "FabricCore", "FabricDocument", "FabricScenario", "FabricLinux", "FabricCapture",
                "FabricLive",
            ],
            modules: programModules),
        Layer(
            "rap-control", .program, ["FabricCommand", "FabricCore", "FabricControl", "FabricLinux", "FabricRuntime"],
            modules: programModules),
        Layer(
            "rap-node-agent", .program,
            [
                "FabricCommand", "FabricCore", "FabricDocument", "FabricWire", "FabricNode", "FabricLinux",
                "FabricRuntime",
            ],
            modules: programModules),
    ]

    static let programModules: Set<String> = ["ArgumentParser", "Foundation", "Glibc", "Logging"]

    /// Targets without Swift: shims and system libraries.
    static let withoutSwift: Set<String> = [
        "CFabricCipher", "CFabricOpenSSL", "CFabricSQLite", "CFabricPcap", "CFabricLinux", "CFabricPostgres",
        "CFabricAllocations",
    ]

    static func named(_ name: String) -> Layer? { all.first { $0.name == name } }
}
